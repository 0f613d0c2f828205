"""Packaging of iadsr: the three folders install as iadsr.pipeline, iadsr.transforms and iadsr.models."""

from pathlib import Path

from setuptools import find_packages, setup

FLOORS = ("pipeline", "transforms", "models")

setup(
    name="iadsr",
    version="0.1.0",
    description="Clean recommender training data: score, explain and remove noisy interactions.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11",
    # A bare `models` or `pipeline` would collide with a user's own folders, so nothing installs at the top level.
    packages=[f"iadsr.{name}" for name in find_packages(include=[f"{floor}*" for floor in FLOORS])],
    package_dir={f"iadsr.{floor}": floor for floor in FLOORS},
    package_data={"iadsr.pipeline.report": ["templates/*"]} | {f"iadsr.{floor}": ["py.typed"] for floor in FLOORS},
    install_requires=[
        "apache-beam>=2.70,<3",
        "faiss-cpu>=1.9,<2",
        "grpcio>=1.67,<2",
        "huggingface-hub>=1,<3",
        "jinja2>=3.1,<4",
        "markupsafe>=2.1,<4",
        "matplotlib>=3.9,<4",
        "numba>=0.61,<1",
        "numpy>=2,<3",
        "packaging>=22,<27",
        "pyarrow>=18,<26",
        "pydantic>=2.10,<3",
        "pyyaml>=6,<7",
        "rich>=13.8,<16",
        "safetensors>=0.4.3,<1",
        "scikit-learn>=1.5,<2",
        "scipy>=1.13,<2",
        "threadpoolctl>=3.5,<4",
        "tokenizers>=0.22,<1",
        "torch>=2.6,<3",
        "transformers>=5,<6",
        "typer>=0.19,<1",
    ],
    extras_require={
        "dataflow": ["apache-beam[gcp]>=2.70,<3"],
        # Needed by --encoder smollm2 only: transformers reads GGUF files through these.
        "gguf": ["accelerate>=1.2,<2", "gguf>=0.13,<1"],
        # Tables of these formats in the input.
        "delta": ["deltalake>=1.6,<2"],
        "iceberg": ["pyiceberg>=0.12,<1"],
        "dev": [
            "basedpyright",
            "build",
            "filelock",
            "hypothesis",
            "kubernetes-validate",
            "openlineage-python",
            "prometheus-client",
            "pytest",
            "pytest-xdist",
            "ruff",
            "setuptools",
        ],
    },
    entry_points={
        "console_scripts": [
            "iadsr = iadsr.pipeline.cli:main",
            "iadsr-worker = iadsr.pipeline.engines.worker_starter:main",
        ]
    },
)
