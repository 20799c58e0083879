// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only
// Queries of databases, from start to end, by the functions and USDT probes of spec/databases.py. The tracer that
// includes this defines on_query(ctx, program, query, ns), which is called as a query ends; "program" is below
// PT_QUERY_PROGRAMS, and no other program has it.
//
// PostgreSQL raises query__start and query__done for the simple protocol, around query__execute__start and
// query__execute__done, which alone are raised for the extended one. statement__status has the text of what begins, and
// NULL when the server waits for the client: what is still open then has failed. SQLite's queries are the calls of
// sqlite3_step from the first one to that which returns no row. MariaDB's are calls of dispatch_command.
#include "loss.h"
#include "target.h"
#include "task.h"
#include "usdt.h"

struct pt_call {
    u64 ns;
    u64 caller;
    u32 tid;
    u64 args[6];
};
#include "calls.h"

#define PT_QUERY_LEN 1024

enum pt_query_kind { // the order of KINDS in spec/databases.py
    PG_STATUS = 1,
    PG_START,
    PG_DONE,
    PG_EXECUTE_START,
    PG_EXECUTE_DONE,
    SQLITE_PREPARE,
    SQLITE_PREPARE_V2,
    SQLITE_PREPARE_V3,
    SQLITE_STEP,
    SQLITE_RESET,
    SQLITE_FINALIZE,
    MYSQL_DISPATCH,
    MYSQL_TEXT,
    MYSQL_ERROR,
};
enum pt_server { PT_POSTGRESQL, PT_SQLITE, PT_MARIADB };

struct pt_query_key {
    u64 id;        // the thread; the process for SQLite, whose statements may change threads
    u64 statement; // SQLite's
};

struct pt_query {
    u64 ns;    // when it began; SQLite: the time of its steps so far
    u64 frame; // where the stack was at PostgreSQL's query__execute__start
    u32 depth; // query__execute__start in that frame; 0: by the simple protocol
    u32 is_open;
    u32 server;
    u32 is_failed;
    u32 is_cut;
    u32 text_len; // 0: not known
    char text[PT_QUERY_LEN];
};
BPF_HASH(pt_queries, struct pt_query_key, struct pt_query, 4096);
// Statements of SQLite that are prepared. The text of one that was not used for long is forgotten.
BPF_TABLE("lru_hash", struct pt_query_key, struct pt_query, pt_statements, 8192);
BPF_ARRAY(pt_no_query, struct pt_query, 1);
// The text of what a PostgreSQL server does, by the thread; its address, as it is read by the time it is executed.
BPF_TABLE("lru_hash", u64, u64, pt_status, 16384);

#define PT_QUERY_PROGRAMS 4
enum pt_query_program { PT_IN_MARKED, PT_IN_BEGINS, PT_IN_RETURNS, PT_IN_GONE };

static __always_inline void on_query(void *ctx, u32 program, struct pt_query *query, u64 ns);

// Read the text of a query, "size" bytes: to its NUL if it is a string, which may be the end before. PT_QUERY_LEN - 1
// bytes are kept.
static __always_inline void pt_query_text(struct pt_query *query, u64 address, u64 size, int is_string)
{
    long length = size < PT_QUERY_LEN ? size : PT_QUERY_LEN - 1;
    char next = 0;

    query->text_len = query->is_cut = 0;
    if (!address)
        return;
    if (is_string) {
        length = pt_probe_read_user_str(query->text, PT_QUERY_LEN, (void *)address) - 1;
        if (length < 0)
            return;
        if (length == PT_QUERY_LEN - 1 && size > length &&
            !pt_probe_read_user(&next, 1, (void *)(address + length)))
            query->is_cut = !!next;
        query->text_len = length < size ? length : size;
        return;
    }
    pt_opaque(length);
    if (length < 0 || length >= PT_QUERY_LEN || pt_probe_read_user(query->text, length, (void *)address))
        return;
    query->text_len = length;
    query->is_cut = length < size;
}

static __always_inline struct pt_query *pt_query_open(struct pt_query_key *key, u32 server)
{
    u32 first = 0;
    struct pt_query *query = pt_no_query.lookup(&first);

    if (!query)
        return 0;
    if (pt_queries.update(key, query)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return 0;
    }
    query = pt_queries.lookup(key);
    if (query)
        query->server = server;
    return query;
}

static __always_inline void pt_query_end(void *ctx, u32 program, struct pt_query_key *key, u64 now,
                                         int is_failed)
{
    struct pt_query *query = pt_queries.lookup(key);

    if (!query)
        return;
    query->is_failed |= is_failed;
    on_query(ctx, program, query, now - query->ns);
    pt_queries.delete(key);
}

// A USDT probe of PostgreSQL.
int marked(struct pt_regs *ctx)
{
    u64 now = bpf_ktime_get_ns(), text = 0, *status, frame = pt_frame(ctx, 0);
    struct pt_query_key key = {.id = bpf_get_current_pid_tgid()};
    u32 kind = pt_kind(ctx);
    struct pt_query *query;

    if (!pt_is_current_traced())
        return pt_pass();
    query = pt_queries.lookup(&key);
    if (kind == PG_STATUS) {
        pt_usdt_read(ctx, pt_target(ctx), 0, &text);
        if (text)
            pt_status.update(&key.id, &text);
        else
            pt_query_end(ctx, PT_IN_MARKED, &key, now, 1);
    } else if (kind == PG_START) {
        query = pt_query_open(&key, PT_POSTGRESQL);
        pt_usdt_read(ctx, pt_target(ctx), 0, &text);
        if (query) {
            pt_query_text(query, text, ~0ULL, 1);
            query->ns = bpf_ktime_get_ns();
        }
    } else if (kind == PG_DONE) {
        pt_query_end(ctx, PT_IN_MARKED, &key, now, 0);
    } else if (kind == PG_EXECUTE_START && query) {
        query->depth += query->depth && query->frame == frame;
    } else if (kind == PG_EXECUTE_START) {
        query = pt_query_open(&key, PT_POSTGRESQL);
        status = pt_status.lookup(&key.id);
        if (query) {
            pt_query_text(query, status ? *status : 0, ~0ULL, 1);
            query->frame = frame;
            query->depth = 1;
            query->ns = bpf_ktime_get_ns();
        }
    } else if (kind == PG_EXECUTE_DONE && query && query->depth && query->frame == frame) {
        query->depth--;
        if (!query->depth)
            pt_query_end(ctx, PT_IN_MARKED, &key, now, 0);
    }
    return pt_pass();
}

// A statement of SQLite; it is made up if it was prepared before the trace began.
static __always_inline struct pt_query *pt_statement(struct pt_query_key *key, int is_new)
{
    u32 first = 0;
    struct pt_query *zero = pt_no_query.lookup(&first), *query = is_new ? 0 : pt_statements.lookup(key);

    if (query || !zero)
        return query;
    if (pt_statements.update(key, zero)) {
        pt_lost(PT_LOSS_INFLIGHT_FULL);
        return 0;
    }
    query = pt_statements.lookup(key);
    if (query)
        query->server = PT_SQLITE;
    return query;
}

// SQLite's query is over: all its rows were read, or no more are wanted, or it failed.
static __always_inline void pt_statement_end(void *ctx, u32 program, struct pt_query *query, int is_failed)
{
    if (!query || !query->is_open)
        return;
    query->is_failed = is_failed;
    on_query(ctx, program, query, query->ns);
    query->ns = query->is_open = 0;
}

int begins(struct pt_regs *ctx)
{
    struct pt_query_key key = {.id = bpf_get_current_pid_tgid()};
    u64 args[PT_ARGUMENTS_MAX] = {};
    struct pt_call call = {};
    u32 kind = pt_kind(ctx);
    struct pt_query *query;

    if (!pt_may_trace_current())
        return pt_pass();
    pt_read_arguments(ctx, args);
    if (kind == MYSQL_TEXT || kind == MYSQL_ERROR) {
        query = pt_queries.lookup(&key);
        if (query && kind == MYSQL_ERROR)
            query->is_failed = 1;
        else if (query && !query->text_len)
            pt_query_text(query, args[2], args[3], 0); // (thd, command, text, length)
        return pt_pass();
    }
    if (kind == SQLITE_RESET || kind == SQLITE_FINALIZE) {
        key.id >>= 32;
        key.statement = args[0];
        pt_statement_end(ctx, PT_IN_BEGINS, pt_statements.lookup(&key), 0);
        if (kind == SQLITE_FINALIZE)
            pt_statements.delete(&key);
        return pt_pass();
    }
    if (kind == MYSQL_DISPATCH) { // (command, thd, packet, length)
        if (args[0] != 3 && args[0] != 22 && args[0] != 23 && args[0] != 250)
            return pt_pass(); // not COM_QUERY, _STMT_PREPARE, _STMT_EXECUTE or _STMT_BULK_EXECUTE
        query = pt_query_open(&key, PT_MARIADB);
        if (query && args[0] < 23)
            pt_query_text(query, args[2], args[3], 0);
        if (query)
            query->ns = bpf_ktime_get_ns();
    }
    __builtin_memcpy(call.args, args, sizeof(call.args));
    pt_call_enter(ctx, &call);
    return pt_pass();
}

static __always_inline void pt_prepared(void *ctx, struct pt_call *call, u32 result, u64 ns)
{
    int is_v3 = pt_kind(ctx) == SQLITE_PREPARE_V3; // (db, text, length[, flags], statement, tail)
    u64 size = (s32)call->args[2] < 0 ? ~0ULL : (u32)call->args[2], tail = 0;
    struct pt_query_key key = {.id = bpf_get_current_pid_tgid() >> 32};
    struct pt_query *query;

    pt_probe_read_user(&key.statement, sizeof(key.statement), (void *)call->args[is_v3 ? 4 : 3]);
    if (!key.statement && !result) // an empty text
        return;
    query = pt_statement(&key, 1);
    if (!query)
        return;
    if (call->args[is_v3 ? 5 : 4])
        pt_probe_read_user(&tail, sizeof(tail), (void *)call->args[is_v3 ? 5 : 4]);
    if (tail > call->args[1] && !result)
        size = tail - call->args[1];
    pt_query_text(query, call->args[1], size, 1);
    if (result) {
        query->is_open = 1;
        query->ns = ns;
        pt_statement_end(ctx, PT_IN_RETURNS, query, 1);
        pt_statements.delete(&key);
    }
}

int returns(struct pt_regs *ctx)
{
    struct pt_query_key key = {.id = bpf_get_current_pid_tgid()};
    u32 kind = pt_kind(ctx), result = pt_return_value(ctx);
    struct pt_call call = {};
    struct pt_query *query;
    u64 ns;

    if (!pt_call_exit(ctx, &call, &ns) || pt_followed() != PT_TRACED)
        return pt_pass();
    if (kind == MYSQL_DISPATCH) {
        query = pt_queries.lookup(&key);
        if (query && call.args[0] == 22 && !query->is_failed) // prepared, and no query yet
            pt_queries.delete(&key);
        else
            pt_query_end(ctx, PT_IN_RETURNS, &key, call.ns + ns, 0);
    } else if (kind == SQLITE_STEP) {
        key.id >>= 32;
        key.statement = call.args[0];
        query = pt_statement(&key, 0);
        if (!query)
            return pt_pass();
        query->ns += ns;
        query->is_open = 1;
        if (result != 100)                                              // SQLITE_ROW
            pt_statement_end(ctx, PT_IN_RETURNS, query, result != 101); // SQLITE_DONE
    } else if (kind >= SQLITE_PREPARE && kind <= SQLITE_PREPARE_V3) {
        pt_prepared(ctx, &call, result, ns);
    }
    return pt_pass();
}

// A thread of a server that ends in the middle of a query.
int gone(void *ctx)
{
    struct pt_query_key key = {.id = bpf_get_current_pid_tgid()};

    if (pt_is_current_traced())
        pt_query_end(ctx, PT_IN_GONE, &key, bpf_ktime_get_ns(), 1);
    return PT_PASS;
}
