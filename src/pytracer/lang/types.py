"""Types of values, on a 64-bit machine: of the kernel's, as far as an expression needs them."""

from __future__ import annotations

from pytracer.record import record, replace


@record
class IntType:
    """An integer of ``size`` bytes, or an enum. ``raw``: a register's content without a type, which may be
    an address; ``loose``: the number of its meaningful bytes is not known either. ``enum`` names the enum
    whose value it is."""

    size: int
    signed: bool
    char: bool = False
    boolean: bool = False
    raw: bool = False
    loose: bool = False
    enum: str = ""

    @property
    def c(self) -> str:
        """Its name in the C that is written."""
        return f"{'s' if self.signed else 'u'}{8 * self.size}"

    @property
    def text(self) -> str:
        """For people."""
        return "bool" if self.boolean else "char" if self.char else f"{self.c}"


@record
class VoidType:
    """``void``, or a type whose values cannot be read: a function, a floating-point number."""

    text: str = "void"


@record
class StructType:
    """A struct or union, by its type id ``number``; ``size`` in bytes (0: unknown)."""

    number: int
    name: str
    size: int

    @property
    def text(self) -> str:
        """The type as text, for messages."""
        return self.name


@record
class ArrayType:
    """``length`` elements, 0 if that is not part of the type."""

    of: Type
    length: int

    @property
    def text(self) -> str:
        """The type as text, for messages."""
        return f"{self.of.text}[{self.length or ''}]"


@record
class PointerType:
    """An address. ``user``: of the program's memory in any case; ``kernel``: of the kernel's."""

    to: Type
    user: bool = False
    kernel: bool = False

    @property
    def text(self) -> str:
        """For people."""
        return f"{self.to.text} *"


@record
class StoredType:
    """Base of the types that scripts have in addition to C's. A value lies in memory, ``size`` bytes long."""

    @property
    def size(self) -> int:
        """In bytes, a multiple of 8."""
        raise NotImplementedError

    @property
    def text(self) -> str:
        """For people."""
        raise NotImplementedError


Type = IntType | VoidType | StructType | ArrayType | PointerType | StoredType

INT, U32, U64, S64 = IntType(4, True), IntType(4, False), IntType(8, False), IntType(8, True)
RAW = IntType(8, False, raw=True, loose=True)
"""The content of a register."""

WORDS = ("unsigned", "signed", "char", "short", "int", "long", "void", "bool", "_Bool", "float", "double")
"""The words that C's own types are made of."""

_SIZED = {
    "size_t ulong uintptr_t uint64_t u64 __u64 __kernel_ulong_t sector_t dma_addr_t": U64,
    "ssize_t ptrdiff_t intptr_t int64_t s64 __s64 off_t loff_t time_t ktime_t off64_t ino64_t": S64,
    "uint u32 __u32 uint32_t uid_t gid_t gfp_t fmode_t dev_t mode_t nlink_t socklen_t": U32,
    "s32 __s32 int32_t pid_t": INT,
    "u16 __u16 uint16_t ushort umode_t __be16 __le16": IntType(2, False),
    "s16 __s16 int16_t": IntType(2, True),
    "u8 __u8 uint8_t uchar": IntType(1, False),
    "s8 __s8 int8_t": IntType(1, True),
    "__be32 __le32": U32,
    "__be64 __le64": U64,
}
BASIC = {name: kind for names, kind in _SIZED.items() for name in names.split()}
"""Types that need no BTF, by the names of the kernel, of C and of C libraries."""

_SIZES = {"char": 1, "short": 2, "int": 4, "long": 8}


def basic(words: tuple[str, ...]) -> Type | None:
    """Look up one of C's own types, or a typedef of one; None if it is neither."""
    if len(words) == 1 and words[0] in BASIC:
        return BASIC[words[0]]
    if not all(word in WORDS for word in words):
        return None
    if words == ("void",):
        return VoidType()
    if words in (("bool",), ("_Bool",)):
        return IntType(1, False, boolean=True)
    if any(word in ("float", "double") for word in words):
        return VoidType(" ".join(words))
    rest = sorted(word for word in words if word not in ("signed", "unsigned"))
    if "signed" in words and "unsigned" in words:
        return None
    kinds = {"char": ["char"], "short": ["short", "int"], "long": ["long", "long", "int"], "int": ["int"]}
    for name in ("char", "short", "long", "int"):
        if name in rest or (name == "int" and not rest):
            left = list(kinds[name])
            for word in rest:
                if word not in left:
                    return None
                left.remove(word)
            return IntType(_SIZES[name], "unsigned" not in words, char=name == "char" and len(words) == 1)
    return None


def is_char(kind: Type) -> bool:
    """Return whether a type is a character."""
    return isinstance(kind, IntType) and kind.size == 1 and not kind.boolean


def is_string(kind: Type) -> bool:
    """Return whether a type is an array of characters, not of small numbers."""
    if not isinstance(kind, ArrayType) or not isinstance(kind.of, IntType):
        return False
    return kind.of.size == 1 and not kind.of.boolean and (kind.of.char or kind.of.signed)


def is_text(kind: Type) -> bool:
    """Return whether a type is a string or points to one."""
    if isinstance(kind, PointerType):
        return is_char(kind.to) or (isinstance(kind.to, ArrayType) and is_char(kind.to.of))
    return isinstance(kind, ArrayType) and is_char(kind.of)


def c_type(kind: Type) -> str:
    """Return a type as C and debug information name it: ``unsigned int*``."""
    if isinstance(kind, PointerType):
        return f"{c_type(kind.to)}*"
    if not isinstance(kind, IntType) or kind.boolean:
        return kind.text
    name = {1: "char", 2: "short", 4: "int", 8: "long"}[kind.size]
    return name if kind.signed else f"unsigned {name}"


def promote(kind: IntType) -> IntType:
    """Apply C's integer promotion."""
    if kind.size < INT.size:
        return INT
    return IntType(kind.size, kind.signed)


def of_bits(kind: IntType, bits: int) -> IntType:
    """Return the type that C promotes a bit-field of ``bits`` bits to: int where int holds all its values."""
    if kind.boolean or bits > 8 * INT.size:
        return kind
    return INT if kind.signed or bits < 8 * INT.size else U32


def common(left: IntType, right: IntType) -> IntType:
    """Apply C's usual arithmetic conversions to two integers."""
    left, right = promote(left), promote(right)
    if left.size == right.size:
        return replace(left, signed=left.signed and right.signed)
    return left if left.size > right.size else right
