"""benchmarks/matrix_products.py: products are counted in every form that the learners use."""

import importlib.util
from pathlib import Path

import pytest
import torch

from dm2.nets import products

FILE = Path(__file__).parents[2] / "benchmarks" / "matrix_products.py"


@pytest.fixture(scope="module")
def counted():
    spec = importlib.util.spec_from_file_location("matrix_products", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.counted


A, B, SUM = torch.ones(2, 3), torch.ones(3, 5), torch.ones(2, 5)
ONE = 2 * 2 * 3 * 5


@pytest.mark.parametrize(
    ("work", "operations"),
    [
        (lambda: A @ B, ONE),
        (lambda: torch.mm(A, B, out=torch.empty(2, 5)), ONE),
        (lambda: torch.addmm(SUM, A, B), ONE),
        (lambda: torch.addmm(SUM, A, B, out=torch.empty(2, 5)), ONE),
        (lambda: torch.ones(2, 5).addmm_(A, B), ONE),
        (lambda: torch.bmm(A.expand(7, 2, 3), B.expand(7, 3, 5)), 7 * ONE),
        (lambda: torch.bmm(A.expand(7, 2, 3), B.expand(7, 3, 5), out=torch.empty(7, 2, 5)), 7 * ONE),
        (lambda: torch.baddbmm(SUM, A.expand(7, 2, 3), B.expand(7, 3, 5)), 7 * ONE),
        (lambda: torch.ones(7, 2, 5).baddbmm_(A.expand(7, 2, 3), B.expand(7, 3, 5)), 7 * ONE),
        (lambda: torch.nn.functional.layer_norm(A, (3,)), 0),
    ],
)
def test_products_are_counted(counted, work, operations):
    assert counted(work) == operations


def test_the_products_of_automatic_differentiation_are_counted_too(counted):
    left, right = A.clone().requires_grad_(), B.clone().requires_grad_()
    assert counted(lambda: (left @ right).sum().backward()) == 3 * ONE


def test_numpys_products_are_counted_too(counted):
    with products.using("numpy"):
        assert counted(lambda: products.product(A, B)) == ONE
