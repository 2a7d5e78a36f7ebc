"""Kernels draw the very numbers that random.bits means."""

from kernel_cases import case, check

from lepton_ir.ir import sym, tensor


def test_bits_are_exact():
    n = sym("N")
    cases = [
        case(f"bits_{word}", [], lambda b, w=word: b.random_bits(shape=(5, 37), key=0x7123456789ABCDEF, word=w))
        for word in range(4)
    ]
    cases.append(case("dynamic", [tensor((n, 3))], lambda b, x: b.random_bits(shape=(n, 3, 7), key=1), env={"N": 11}))
    check(cases)
