import pickle

from iadsr.transforms.files.loaded_once import LoadedOnce


def test_each_value_is_loaded_once_whichever_copy_of_the_step_asks_and_however_many_values_there_are():
    loads = []

    def load(name):
        loads.append(name)
        return name, len(loads)

    model, catalogue = LoadedOnce(), LoadedOnce()
    copies = [(pickle.loads(pickle.dumps(model)), pickle.loads(pickle.dumps(catalogue))) for _ in range(2)]
    for _ in range(3):
        for one, other in copies:
            assert one.get(lambda: load("model")) == ("model", 1)
            assert other.get(lambda: load("catalogue")) == ("catalogue", 2)
    assert loads == ["model", "catalogue"]
