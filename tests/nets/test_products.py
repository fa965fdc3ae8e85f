"""dm2.nets.products: who multiplies, the same products by either library, and no product beside that door."""

import ast
import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.toy_training import rows_of, run_toy, stopped_run

from dm2.core.errors import UserError
from dm2.core.files import StorageError
from dm2.core.run_directory import RunDirectory
from dm2.nets import products
from dm2.nets.products import Library, add_product, is_full_width_amd, library, linear, multiply, product, using

PACKAGE = Path(products.__file__).parents[1]
ELSEWHERE = {"mm", "addmm", "addmm_", "bmm", "baddbmm", "baddbmm_", "matmul", "einsum", "addmv", "mv"}


def processor(vendor: str, family: int, flags: str) -> str:
    return (
        f"processor\t: 0\nvendor_id\t: {vendor}\ncpu family\t: {family}\nmodel\t\t: 2\nflags\t\t: fpu {flags} rdpid\n"
    )


ZEN_5 = processor("AuthenticAMD", 26, "avx2 avx512f avx512dq")


@pytest.fixture(autouse=True)
def _forget(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(products.VARIABLE, raising=False)
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    library.cache_clear()
    yield
    library.cache_clear()


@pytest.fixture
def on_zen_5(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "_processor", lambda: ZEN_5)


def numbers(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(
    ("text", "wide"),
    [
        (ZEN_5, True),
        (processor("AuthenticAMD", 25, "avx2 avx512f"), False),
        (processor("AuthenticAMD", 26, "avx2"), False),
        (processor("GenuineIntel", 26, "avx2 avx512f"), False),
        ("", False),
    ],
)
def test_the_rule_reads_the_processor(monkeypatch: pytest.MonkeyPatch, text: str, wide: bool) -> None:
    assert is_full_width_amd(text) == wide
    monkeypatch.setattr(products, "_processor", lambda: text)
    monkeypatch.setattr(products, "prepare_openblas", lambda: "SkylakeX")
    assert library() == (Library("numpy", "SkylakeX") if wide else Library("torch"))


def test_the_environment_variable_overrules_the_rule(monkeypatch: pytest.MonkeyPatch, on_zen_5: None) -> None:
    monkeypatch.setenv(products.VARIABLE, "torch")
    assert str(library()) == "torch"
    library.cache_clear()
    monkeypatch.setenv(products.VARIABLE, "mkl")
    with pytest.raises(UserError, match="DM2_PRODUCTS: found 'mkl', expected one of auto, numpy, torch"):
        library()


def test_a_library_that_multiplies_otherwise_is_not_used(monkeypatch: pytest.MonkeyPatch, on_zen_5: None) -> None:
    monkeypatch.setattr(np, "dot", lambda left, right, out: out.fill(np.nan))
    assert library().name == "torch"
    assert re.search(r"a product \[512, 64\] by \[64, 192\] differs from torch's by nan", library().remark)
    library.cache_clear()
    monkeypatch.setenv(products.VARIABLE, "numpy")
    with pytest.raises(UserError, match="DM2_PRODUCTS: found 'numpy', but a product"):
        library()


def test_a_numpy_without_openblas_is_not_used(monkeypatch: pytest.MonkeyPatch, on_zen_5: None) -> None:
    monkeypatch.setattr(products.ctypes, "CDLL", lambda path: object())
    assert library().name == "torch"
    assert library().remark.endswith("numpy's matrix products are not by an OpenBLAS")


def test_kernels_of_half_the_width_are_not_used(monkeypatch: pytest.MonkeyPatch, on_zen_5: None) -> None:
    monkeypatch.setattr(products, "prepare_openblas", lambda: "Haswell")
    assert library().name == "torch"
    assert library().remark.endswith("SapphireRapids: install a newer numpy")
    library.cache_clear()
    monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
    assert library().remark.endswith("SapphireRapids: unset OPENBLAS_CORETYPE, which is 'Haswell'")


def test_numpys_library_is_left_with_one_thread() -> None:
    with using("numpy"):
        loaded = products.ctypes.CDLL(np._core._multiarray_umath.__file__)
        names = [f"{prefix}openblas_get_num_threads{suffix}" for prefix in ("scipy_", "") for suffix in ("64_", "")]
        counts = [getattr(loaded, name)() for name in names if hasattr(loaded, name)]
        assert counts == [1]


@pytest.mark.usefixtures("each_library")
@pytest.mark.parametrize(("m", "k", "n"), [(1, 1, 1), (5, 7, 3), (40, 1, 64), (64, 12, 1)])
def test_products_equal_double_precision(m: int, k: int, n: int) -> None:
    left, right, bias, total = numbers(m, k), numbers(k, n), numbers(n), numbers(m, n)
    expected = left.double() @ right.double()
    out, shifted, sums = torch.empty(m, n), torch.empty(m, n), total.clone()
    multiply(left, right, out=out)
    multiply(left, right, out=shifted, plus=bias)
    add_product(sums, left.t().contiguous().t(), right.t().contiguous().t())
    for found, wanted in (
        (out, expected),
        (shifted, expected + bias.double()),
        (sums, total.double() + expected),
        (product(left, right), expected),
        (linear(left, right, bias), expected + bias.double()),
        (linear(left.expand(3, -1, -1), right.expand(3, -1, -1), bias.expand(3, -1))[1], expected + bias.double()),
    ):
        torch.testing.assert_close(found.double(), wanted, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("each_library")
@pytest.mark.parametrize("stack", [(), (3,)])
def test_gradients_of_a_layer_of_first_and_second_order(stack: tuple[int, ...]) -> None:
    def twice(dtype: torch.dtype) -> list[torch.Tensor]:
        shapes = (*stack, 5, 7), (*stack, 7, 4), (*stack, 4)
        leaves = [numbers(*shape).to(dtype).requires_grad_() for shape in shapes]
        first = torch.autograd.grad(linear(*leaves).square().sum(), leaves, create_graph=True)
        return [*first, *torch.autograd.grad(sum(one.sin().sum() for one in first), leaves)]

    for found, expected in zip(twice(torch.float32), twice(torch.float64), strict=True):
        torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-3)


def test_no_module_multiplies_beside_the_door() -> None:
    found = set()
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if (isinstance(node, ast.Attribute) and node.attr in ELSEWHERE) or isinstance(node, ast.MatMult):
                found.add(str(path.relative_to(PACKAGE)))
    assert found == {"nets/products.py", "analysis/few_seeds.py"}  # the latter: statistics in float64


def test_a_run_goes_on_by_the_library_that_it_began_with(tmp_path: Path) -> None:
    run = stopped_run(tmp_path)
    with using("numpy"), pytest.raises(StorageError) as refused:
        run_toy(tmp_path)
    assert "products: found 'torch', expected 'numpy (" in str(refused.value)
    assert "Put the old values back (products: the environment variable DM2_PRODUCTS), or" in str(refused.value)
    run_toy(tmp_path)
    assert json.loads(run.record.read_text())["products"] == "torch"
    rows = rows_of(run.metrics)
    with using("numpy"):  # finished, it is left alone
        run_toy(tmp_path)
    assert rows_of(RunDirectory(tmp_path).metrics) == rows
