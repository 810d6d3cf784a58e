"""Loops as machine code, kept on disk for the next process where there is a place to keep it."""

from collections.abc import Callable
from typing import Any, TypeVar

from llvmlite import ir
from numba import extending, njit, types

intrinsic: Any = extending.intrinsic  # whose type hides the argument that numba itself gives
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(**options: Any) -> Callable[[Function], Function]:
    """Compile a function with numba when it is first called; it holds no lock. options: others of `numba.njit`.

    numba refuses where it cannot keep the code (a read-only image): there each process compiles for itself.
    """

    def decorate(function: Function) -> Function:
        try:
            return njit(nogil=True, cache=True, **options)(function)
        except RuntimeError:
            return njit(nogil=True, **options)(function)

    return decorate


@intrinsic
def prefetch(typing: Any, array: Any, at: Any) -> Any:
    """Within compiled code: bring the line of memory with byte `at` of an array into the cache, and do not wait for it.

    A place outside of the array does no harm. LLVM Language Reference, "llvm.prefetch": read, keep, data.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        line, number = _place(context, builder, signature, arguments), ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [line.type, *[number] * 3])
        call = builder.module.declare_intrinsic("llvm.prefetch", [line.type], kind)
        builder.call(call, [line, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), generate


@intrinsic
def word_at(typing: Any, array: Any, at: Any) -> Any:
    """Within compiled code: the 8 bytes of an array (uint8) from `at` on, uint64; all of them have to be there."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = builder.bitcast(_place(context, builder, signature, arguments), ir.IntType(64).as_pointer())
        return builder.load(word, align=1)

    return types.uint64(array, types.intp), generate


def _place(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """The address of a byte of an array."""
    data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
    return builder.gep(builder.bitcast(data, ir.IntType(8).as_pointer()), [arguments[1]])
