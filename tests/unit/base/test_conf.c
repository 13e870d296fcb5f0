/* SPDX-License-Identifier: Apache-2.0 */
#include "base/conf.h"

#include "tests/unit/base/check.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct config {
    struct str url, name;
    int64_t port;
    bool tls;
};

static const struct conf_key table[] = {
    {"DATABASE_URL", CONF_STR, offsetof(struct config, url), NULL, 0, 0, "where PostgreSQL is"},
    {"NEXUS_NAME", CONF_STR, offsetof(struct config, name), "broker", 0, 8, "a name"},
    {"PORT", CONF_INT, offsetof(struct config, port), "8080", 1, 65535, "the port"},
    {"NEXUS_TLS", CONF_BOOL, offsetof(struct config, tls), "on", 0, 0, "TLS"},
};
static const char *const known[] = {"NEXUS_KEY", "NEXUS_TEST_*", NULL};

struct run {
    struct arena *arena;
    struct config c;
    struct str problems;
};

static int setup(void **state)
{
    struct run *r = calloc(1, sizeof *r);
    assert_non_null(r);
    assert_ok(arena_new(1 << 20, &r->arena));
    *state = r;
    return 0;
}

static int teardown(void **state)
{
    struct run *r = *state;
    arena_free(&r->arena);
    free(r);
    return 0;
}

static struct err load(struct run *r, char *const *envp, const char *file)
{
    r->c = (struct config){0};
    r->problems = (struct str){NULL, 0};
    return conf_load(table, COUNT(table), known, envp, file, r->arena, &r->c, &r->problems);
}

static void test_defaults(void **state)
{
    struct run *r = *state;
    char *const envp[] = {(char[]){"DATABASE_URL=postgres:///x?a=b"}, (char[]){"HOME=/root"}, NULL};
    assert_ok(load(r, envp, NULL));
    assert_str(r->c.url, "postgres:///x?a=b");
    assert_str(r->c.name, "broker");
    assert_true(r->c.port == 8080);
    assert_true(r->c.tls);
}

static void test_every_mistake_is_told_at_once(void **state)
{
    struct run *r = *state;
    char *const envp[] = {(char[]){"PORT=0"},
                          (char[]){"NEXUS_TLS=maybe"},
                          (char[]){"NEXUS_NAME=much too long"},
                          (char[]){"NEXUS_TSL=on"},
                          (char[]){"NEXUS_KEY=k"},
                          (char[]){"NEXUS_TEST_X=1"},
                          NULL};
    assert_fails(ERR_CONFIG, load(r, envp, NULL));
    static const char *const told[] = {"DATABASE_URL: must be set (where PostgreSQL is)",
                                       "PORT: must be a whole number from 1 to 65535", "NEXUS_TLS: must be on or off",
                                       "NEXUS_NAME: is longer than 8 bytes", "NEXUS_TSL: is not a setting"};
    size_t lines = 0;
    for (size_t i = 0; i < r->problems.n; i++)
        lines += r->problems.p[i] == '\n' ? 1 : 0;
    assert_int_equal(COUNT(told), lines);
    for (size_t i = 0; i < COUNT(told); i++)
        assert_non_null(memmem(r->problems.p, r->problems.n, told[i], strlen(told[i])));
}

static void test_numbers(void **state)
{
    struct run *r = *state;
    static const char *const bad[] = {"",      " 1",
                                      "1 ",    "+1",
                                      "\t1",   "1x",
                                      "0x10",  "-1",
                                      "65536", "99999999999999999999",
                                      "1e3",   "-",
                                      "one",   "00000000000000000000000000000001"};
    for (size_t i = 0; i < COUNT(bad); i++) {
        char port[64];
        (void)snprintf(port, sizeof port, "PORT=%s", bad[i]);
        char *const envp[] = {(char[]){"DATABASE_URL=x"}, port, NULL};
        assert_fails(ERR_CONFIG, load(r, envp, NULL));
    }
    char *const envp[] = {(char[]){"DATABASE_URL=x"}, (char[]){"PORT=65535"}, NULL};
    assert_ok(load(r, envp, NULL));
    assert_true(r->c.port == 65535);
}

static void test_the_environment_wins_over_the_file(void **state)
{
    struct run *r = *state;
    char path[] = "/tmp/test_conf_XXXXXX";
    int fd = mkstemp(path);
    static const char text[] = "# comment\n\n  PORT = 9090 \r\nNEXUS_NAME=file\nNEXUS_TLS=off\nDATABASE_URL=f";
    assert_int_equal(sizeof text - 1, write(fd, text, sizeof text - 1));
    char *const envp[] = {(char[]){"NEXUS_NAME=env"}, NULL};
    assert_ok(load(r, envp, path));
    assert_str(r->c.name, "env");
    assert_str(r->c.url, "f");
    assert_true(r->c.port == 9090);
    assert_false(r->c.tls);
    static const char more[] = "\nPROT=1\nno equals sign\n";
    assert_int_equal(sizeof more - 1, write(fd, more, sizeof more - 1));
    close(fd);
    assert_fails(ERR_CONFIG, load(r, envp, path));
    assert_non_null(memmem(r->problems.p, r->problems.n, "PROT: is not a setting", 22));
    assert_non_null(memmem(r->problems.p, r->problems.n, "NAME=value", 10));
    unlink(path);
    assert_fails(ERR_CONFIG, load(r, envp, path));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_every_mistake_is_told_at_once),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_the_environment_wins_over_the_file),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
