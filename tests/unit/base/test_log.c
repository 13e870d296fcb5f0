/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include "tests/unit/base/check.h"

#include <stdio.h>
#include <unistd.h>

/* Catches what is written to stderr. */
struct capture {
    int saved, pipe[2];
    char text[16384];
    size_t n;
};

static void begin(struct capture *c)
{
    assert_int_equal(0, pipe(c->pipe));
    c->saved = dup(STDERR_FILENO);
    assert_true(dup2(c->pipe[1], STDERR_FILENO) >= 0);
    close(c->pipe[1]);
}

static void end(struct capture *c)
{
    assert_true(dup2(c->saved, STDERR_FILENO) >= 0);
    close(c->saved);
    ssize_t n = 0;
    c->n = 0;
    while ((n = read(c->pipe[0], c->text + c->n, sizeof c->text - 1 - c->n)) > 0)
        c->n += (size_t)n;
    c->text[c->n] = '\0';
    close(c->pipe[0]);
}

static size_t lines(const struct capture *c)
{
    size_t k = 0;
    for (size_t i = 0; i < c->n; i++)
        k += c->text[i] == '\n' ? 1 : 0;
    return k;
}

static void test_a_line(void **state)
{
    (void)state;
    struct capture c;
    log_setup("tester", LOG_INFO);
    begin(&c);
    LOG(LOG_INFO, "agent registered", LOG_CSTR("agent_id", "a-1"), LOG_INT("scopes", -3), LOG_BOOL("active", true));
    LOG0(LOG_DEBUG, "too low");
    end(&c);
    assert_int_equal(1, lines(&c));
    assert_non_null(strstr(c.text, "{\"time\":\"20"));
    assert_non_null(strstr(c.text, "Z\",\"level\":\"info\",\"component\":\"tester\",\"msg\":\"agent registered\","
                                   "\"agent_id\":\"a-1\",\"scopes\":-3,\"active\":true}\n"));
}

static void test_a_value_cannot_make_a_line(void **state)
{
    (void)state;
    struct capture c;
    begin(&c);
    LOG(LOG_WARN, "m", LOG_CSTR("v", "a\n{\"level\":\"error\"}\r\t\x1b[2J\"\\\x7f\xe2\x80\xa8\xff"),
        LOG_STR("nul", STR("a\0b")), LOG_STR("none", ((struct str){NULL, 0})));
    end(&c);
    assert_int_equal(1, lines(&c));
    assert_non_null(strstr(c.text,
                           "\"v\":\"a\\u000a{\\\"level\\\":\\\"error\\\"}\\u000d\\u0009\\u001b[2J\\\"\\\\\\u007f"
                           "\\u00e2\\u0080\\u00a8\\u00ff\",\"nul\":\"a\\u0000b\",\"none\":\"\"}\n"));
}

static void test_long_values_are_cut_and_the_line_stays_whole(void **state)
{
    (void)state;
    struct capture c;
    char value[9000];
    static const char fill[] = {'x', '\n', '"'};
    for (size_t k = 0; k < COUNT(fill); k++) {
        memset(value, fill[k], sizeof value - 1);
        value[sizeof value - 1] = '\0';
        begin(&c);
        LOG(LOG_ERROR, value, LOG_CSTR("a", value), LOG_CSTR("b", value), LOG_CSTR("c", value), LOG_CSTR("d", value));
        end(&c);
        assert_int_equal(1, lines(&c));
        assert_true(c.n <= 4096);
        assert_string_equal("\"}\n", c.text + c.n - 3);
        size_t quotes = 0;
        for (size_t i = 0; i < c.n; i++) {
            if (c.text[i] == '\\')
                i++;
            else if (c.text[i] == '"')
                quotes++;
        }
        assert_int_equal(0, quotes % 2);
    }
}

static void test_errors(void **state)
{
    (void)state;
    struct capture c;
    struct err e = FAIL(ERR_JOSE_CLAIM, "aud is missing");
    begin(&c);
    LOG_ERR(LOG_WARN, "assertion refused", &e, LOG_CSTR("agent_id", "a-1"));
    log_err(LOG_WARN, "bare", &e, NULL, 0);
    end(&c);
    assert_int_equal(2, lines(&c));
    assert_non_null(strstr(c.text, "\"error\":\"ERR_JOSE_CLAIM\",\"detail\":\"aud is missing\",\"at\":\""));
    assert_non_null(strstr(c.text, "test_log.c:"));
    assert_non_null(strstr(c.text, "\"agent_id\":\"a-1\"}\n"));
}

static void test_levels(void **state)
{
    (void)state;
    enum log_level l = LOG_ERROR;
    assert_true(log_level_parse(STR("debug"), &l) && l == LOG_DEBUG);
    assert_true(log_level_parse(STR("warn"), &l) && l == LOG_WARN);
    assert_false(log_level_parse(STR("WARN"), &l));
    assert_false(log_level_parse(STR(""), &l));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_line),
        cmocka_unit_test(test_a_value_cannot_make_a_line),
        cmocka_unit_test(test_long_values_are_cut_and_the_line_stays_whole),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
