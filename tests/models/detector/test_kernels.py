import numba
import numpy as np

from iadsr.models.detector import kernels


def test_where_nothing_can_be_kept_each_process_compiles_for_itself(monkeypatch):
    compile_now = numba.njit

    def refuse_to_keep(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return compile_now(**options)

    def double(values):
        for i in range(len(values)):
            values[i] *= 2

    with monkeypatch.context() as patch:  # not at the call: numba compiles functions of its own there
        patch.setattr(kernels.numba, "njit", refuse_to_keep)
        compiled = kernels._compile(double)
    values = np.arange(3.0)
    compiled(values)
    assert values.tolist() == [0, 2, 4]


def test_what_is_compiled_does_what_it_says_and_gives_the_same_bits_every_time():
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=(40, 64)).astype(np.float32)
    rows, present = generator.integers(0, 40, (9, 17)), generator.random((9, 17)) < 0.8
    totals, counts = np.zeros((9, 0), np.float32), np.zeros(9, np.float32)
    found = []
    for _ in range(3):
        values, defined = np.zeros((9, 17, 6), np.float32), np.zeros((9, 17, 6), bool)
        kernels.agreement(vectors, rows, present, totals, counts, 3, values, defined)
        found.append((values, defined))
    values, defined = np.zeros((9, 17, 6), np.float32), np.zeros((9, 17, 6), bool)
    kernels.agreement.py_func(vectors, rows, present, totals, counts, 3, values, defined)
    np.testing.assert_allclose(found[0][0], values, rtol=1e-4, atol=1e-4)
    assert np.array_equal(found[0][1], defined)
    for values, defined in found[1:]:
        assert np.array_equal(values, found[0][0])
        assert np.array_equal(defined, found[0][1])
