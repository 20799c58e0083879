"""sslsniff: data of TLS connections, before encryption and after decryption."""

from pytracer.spec import Column, NameSet, Number, Stream, Targets, Tracer, Unit
from pytracer.spec.common import TASK_COLUMNS
from pytracer.spec.filters import TASK_FILTERS

OPENSSL = ("SSL_read", "SSL_read_ex", "SSL_write", "SSL_write_ex")
GNUTLS = ("gnutls_record_recv", "gnutls_record_send")

TRACER = Tracer(
    name="sslsniff",
    group="network",
    summary="plain text of TLS: reads and writes of OpenSSL and GnuTLS",
    description="Shows the data of each read and write by OpenSSL and GnuTLS, as it returns.",
    hooks=(),
    arguments=Targets(
        "PATTERN",
        "u:FILE:SSL_write and the like, of a program that has the library within",
        begin="begins",
        end="returns",
        minimum=0,
        default=(*(f"u:libssl:{name}" for name in OPENSSL), *(f"u:libgnutls:{name}" for name in GNUTLS)),
        kinds=(*OPENSSL, *GNUTLS),
    ),
    filters=TASK_FILTERS,
    follow=True,
    options=(
        NameSet("direction", "only these", names=("in", "out"), map="pt_kinds", define="PT_ONLY"),
        Number("size", "bytes of each that are shown", default=16384, maximum=16384, config="size"),
    ),
    outputs=(
        Stream(
            columns=(
                *TASK_COLUMNS,
                Column("direction", "in: read; out: written", label="DIR", decode="direction", width=3),
                Column("bytes", "bytes that were read or written", unit=Unit.COUNT, width=8),
                Column("session", "address of the session, to tell them apart", decode="register", wide=True),
                Column("data", "what they are", decode="payload"),
            )
        ),
    ),
    examples=(
        ("sslsniff -p 181", "what one process sends and gets"),
        ("sslsniff --direction out --size 64 -- git fetch", "the beginnings of what one sends"),
        ("sslsniff u:/opt/node:SSL_read u:/opt/node:SSL_write", "a library within a program"),
    ),
    notes=(
        "The data may be confidential. Go, Java, Rust (rustls) and the kernel's TLS are not seen.",
        "Bytes beyond --size are not shown, and are counted as truncated; BYTES is the whole size.",
        "Calls that fail or would block are not shown. Data of writes is read when they return.",
    ),
)
