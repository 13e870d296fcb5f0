/* SPDX-License-Identifier: Apache-2.0
 * Which addresses and URLs may be called, without calling any. */
#include "service/net/rules.h"

#include "tests/unit/base/check.h"

#include <netinet/in.h>
#include <stdio.h>

static struct net_rules rules_of(const char *cidrs, bool allow_loopback)
{
    const struct net_options o = {.allowed_cidrs = str_of(cidrs), .allow_loopback = allow_loopback};
    struct net_rules r;
    assert_ok(net_rules_init(&o, &r));
    return r;
}

static bool allowed(const struct net_rules *r, enum net_reach reach, bool https, const char *address)
{
    struct sockaddr_storage sa;
    if (!net_address(address, &sa))
        fail_msg("%s is no address", address);
    return net_rules_allow(r, reach, https, (const struct sockaddr *)&sa);
}

/* First and last addresses of each range and their neighbours, by the registries of IANA. */
static const struct {
    const char *address;
    bool guarded, operator, listed; /* over https: from data, from the configuration, from data and in allowed_cidrs */
} addresses[] = {
    {"0.0.0.0", false, false, false},
    {"0.255.255.255", false, false, false},
    {"1.0.0.0", true, true, true},
    {"9.255.255.255", true, true, true},
    {"10.0.0.0", false, true, true},
    {"10.255.255.255", false, true, true},
    {"11.0.0.0", true, true, true},
    {"100.63.255.255", true, true, true},
    {"100.64.0.0", false, true, true},
    {"100.100.100.200", false, true, true},
    {"100.127.255.255", false, true, true},
    {"100.128.0.0", true, true, true},
    {"126.255.255.255", true, true, true},
    {"127.0.0.1", false, true, false},
    {"127.255.255.255", false, true, false},
    {"128.0.0.0", true, true, true},
    {"169.253.255.255", true, true, true},
    {"169.254.0.0", false, false, true},
    {"169.254.169.254", false, false, true},
    {"169.255.0.0", true, true, true},
    {"172.15.255.255", true, true, true},
    {"172.16.0.0", false, true, true},
    {"172.31.255.255", false, true, true},
    {"172.32.0.0", true, true, true},
    {"192.0.0.8", false, false, true},
    {"192.0.1.0", true, true, true},
    {"192.0.2.1", false, false, true},
    {"192.0.3.0", true, true, true},
    {"192.88.99.1", false, false, true},
    {"192.167.255.255", true, true, true},
    {"192.168.0.0", false, true, true},
    {"192.168.255.255", false, true, true},
    {"192.169.0.0", true, true, true},
    {"198.17.255.255", true, true, true},
    {"198.18.0.0", false, false, true},
    {"198.19.255.255", false, false, true},
    {"198.20.0.0", true, true, true},
    {"198.51.100.7", false, false, true},
    {"203.0.113.7", false, false, true},
    {"223.255.255.255", true, true, true},
    {"224.0.0.1", false, false, false},
    {"239.255.255.255", false, false, false},
    {"240.0.0.0", false, false, true},
    {"255.255.255.255", false, false, true},
    {"::", false, false, false},
    {"::1", false, true, false},
    {"::2", false, false, false},
    {"::7f00:1", false, false, false},
    {"::ffff:127.0.0.1", false, false, false},
    {"::ffff:8.8.8.8", false, false, false},
    {"64:ff9b::808:808", false, false, true},
    {"64:ff9b::7f00:1", false, false, false},
    {"64:ff9b::a9fe:a9fe", false, false, false},
    {"64:ff9b:1::808:808", false, false, false},
    {"100::1", false, false, true},
    {"1fff:ffff::1", false, false, true},
    {"2001::1", false, false, true},
    {"2001:0:4136:e378:8000:63bf:3fff:fdd2", false, false, true},
    {"2001:2::1", false, false, true},
    {"2001:1ff:ffff::1", false, false, true},
    {"2001:200::1", true, true, true},
    {"2001:db7:ffff::1", true, true, true},
    {"2001:db8::1", false, false, true},
    {"2001:db9::1", true, true, true},
    {"2002:7f00:1::1", false, false, false},
    {"2002:808:808::1", false, false, false},
    {"2003::1", true, true, true},
    {"2606:4700::1111", true, true, true},
    {"3ffe:ffff::1", true, true, true},
    {"3fff::1", false, false, true},
    {"3fff:fff:ffff::1", false, false, true},
    {"3fff:1000::1", true, true, true},
    {"4000::1", false, false, true},
    {"5f00::1", false, false, true},
    {"fbff::1", false, false, true},
    {"fc00::1", false, true, true},
    {"fd00:ec2::254", false, true, true},
    {"fe00::1", false, false, true},
    {"fe80::1", false, false, true},
    {"febf::1", false, false, true},
    {"fec0::1", false, false, true},
    {"ff02::1", false, false, false},
};

static bool allowed_when_listed(const char *address)
{
    char cidr[64];
    (void)snprintf(cidr, sizeof cidr, "%s/%d", address, strchr(address, ':') != NULL ? 128 : 32);
    const struct net_options o = {.allowed_cidrs = str_of(cidr)};
    struct net_rules r;
    struct err e = net_rules_init(&o, &r);
    return !err_is(&e) && allowed(&r, NET_GUARDED, true, address);
}

static void test_addresses(void **state)
{
    (void)state;
    const struct net_rules strict = rules_of("", false);
    for (size_t i = 0; i < COUNT(addresses); i++) {
        const char *address = addresses[i].address;
        if (allowed(&strict, NET_GUARDED, true, address) != addresses[i].guarded)
            fail_msg("guarded: %s", address);
        if (allowed(&strict, NET_OPERATOR, true, address) != addresses[i].operator)
            fail_msg("operator: %s", address);
        if (allowed_when_listed(address) != addresses[i].listed)
            fail_msg("listed: %s", address);
    }
}

static void test_loopback_and_plain_http(void **state)
{
    (void)state;
    static const char *const here[] = {"127.0.0.1", "127.1.2.3", "::1"};
    static const char *const elsewhere[] = {"8.8.8.8", "10.0.0.1", "fd00::1", "2606:4700::1111", "::ffff:127.0.0.1"};
    const struct net_rules strict = rules_of("10.0.0.0/8", false), loose = rules_of("10.0.0.0/8", true);
    for (size_t i = 0; i < COUNT(here); i++) {
        assert_false(allowed(&strict, NET_GUARDED, true, here[i]));
        assert_false(allowed(&strict, NET_GUARDED, false, here[i]));
        assert_true(allowed(&loose, NET_GUARDED, true, here[i]));
        assert_true(allowed(&loose, NET_GUARDED, false, here[i]));
        assert_true(allowed(&strict, NET_OPERATOR, false, here[i]));
    }
    for (size_t i = 0; i < COUNT(elsewhere); i++) {
        assert_false(allowed(&loose, NET_GUARDED, false, elsewhere[i]));
        assert_false(allowed(&loose, NET_OPERATOR, false, elsewhere[i]));
    }
    /* Behind a translator, loopback is another machine's. */
    const struct net_rules translated = rules_of("64:ff9b::/96", true);
    assert_true(allowed(&translated, NET_GUARDED, true, "64:ff9b::808:808"));
    assert_false(allowed(&translated, NET_GUARDED, true, "64:ff9b::7f00:1"));
    assert_false(allowed(&translated, NET_GUARDED, true, "64:ff9b::a00:1"));
    assert_true(allowed(&translated, NET_OPERATOR, true, "64:ff9b::a00:1"));
}

static void test_other_socket_addresses(void **state)
{
    (void)state;
    const struct net_rules r = rules_of("fd00::/8", true);
    struct sockaddr_in6 zoned = {.sin6_family = AF_INET6, .sin6_addr = {{{0xfd, [15] = 1}}}};
    assert_true(net_rules_allow(&r, NET_GUARDED, true, (const struct sockaddr *)&zoned));
    zoned.sin6_scope_id = 2;
    assert_false(net_rules_allow(&r, NET_GUARDED, true, (const struct sockaddr *)&zoned));
    const struct sockaddr_storage local = {.ss_family = AF_UNIX};
    assert_false(net_rules_allow(&r, NET_OPERATOR, true, (const struct sockaddr *)&local));
}

static void test_allowed_networks(void **state)
{
    (void)state;
    const struct net_rules r = rules_of(" 10.1.0.0/16,172.20.1.0/25, fd00:1::/33 ,192.168.1.9/32", false);
    static const struct {
        const char *address;
        bool allowed;
    } cases[] = {
        {"10.0.255.255", false}, {"10.1.0.0", true},       {"10.1.255.255", true},  {"10.2.0.0", false},
        {"172.20.1.127", true},  {"172.20.1.128", false},  {"172.20.0.255", false}, {"fd00:1::1", true},
        {"fd00:1:7fff::", true}, {"fd00:1:8000::", false}, {"fd00:2::1", false},    {"192.168.1.9", true},
        {"192.168.1.8", false},  {"8.8.8.8", true},        {"127.0.0.1", false},    {"a01::", false},
    };
    for (size_t i = 0; i < COUNT(cases); i++) {
        if (allowed(&r, NET_GUARDED, true, cases[i].address) != cases[i].allowed)
            fail_msg("%s", cases[i].address);
    }
}

static void test_mistaken_networks(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "10.1.0.0",
        "10.1/16",
        "10.1.0.0/33",
        "10.1.0.0/-1",
        "10.1.0.0/",
        "10.1.0.0/16x",
        "10.1.0.0/ 16",
        "/8",
        "ten/8",
        "10.1.0.1/16",
        "fd00::1/64",
        "fd00::/129",
        "fd00::/4294967304",
        "0.0.0.0/0",
        "::/0",
        "8.0.0.0/7",
        "fc00::/6",
        "127.0.0.0/8",
        "127.0.0.1/32",
        "::1/128",
        "224.0.0.0/8",
        "0.0.0.0/32",
        "::ffff:0:0/96",
        "2002::/16",
        "fe80::1%lo/128",
        "010.0.0.0/8",
        "::ffff:10.0.0.0/104",
    };
    for (size_t i = 0; i < COUNT(bad); i++) {
        char list[128];
        (void)snprintf(list, sizeof list, "10.9.0.0/16, %s ,fd00::/8", bad[i]);
        const struct net_options o = {.allowed_cidrs = str_of(list)};
        struct net_rules r;
        struct err e = net_rules_init(&o, &r);
        if (e.code != ERR_CONFIG || strstr(e.detail, bad[i]) == NULL)
            fail_msg("%s: %s (%s)", bad[i], err_name(e.code), e.detail);
    }
    struct net_rules r;
    assert_fails(ERR_CONFIG, net_rules_init(&(struct net_options){.allowed_cidrs = STR("10.0.0.0/8,,fd00::/8")}, &r));
    char many[65 * 14] = "";
    for (unsigned i = 0; i < 65; i++)
        (void)snprintf(many + strlen(many), sizeof many - strlen(many), "%s10.%u.0.0/16", i > 0 ? "," : "", i);
    assert_fails_with(ERR_CONFIG, "10.64.0.0/16",
                      net_rules_init(&(struct net_options){.allowed_cidrs = str_of(many)}, &r));
}

static struct net *net_of(bool allow_loopback)
{
    struct net *n = NULL;
    assert_ok(net_new(&(struct net_options){.allow_loopback = allow_loopback}, &n));
    return n;
}

static void test_good_urls(void **state)
{
    (void)state;
    static const char *const good[] = {
        "https://a.example",
        "https://a.example/",
        "HTTPS://A.Example:8443/x/../y?q=1&r=%20",
        "https://a.example:443?x=@/",
        "https://a.example/user@place",
        "https://8.8.8.8/keys",
        "https://[2606:4700::1111]/",
        "https://xn--bcher-kva.example",
        "https://a_b.example/",
        "https://a.example/b:c",
    };
    CLEANUP(net_free) struct net *n = net_of(false);
    for (size_t i = 0; i < COUNT(good); i++) {
        struct err e = net_url_check(n, NET_GUARDED, str_of(good[i]));
        if (err_is(&e))
            fail_msg("%s: %s", good[i], e.detail);
    }
}

static const char *const bad_urls[] = {
    "",
    "a.example",
    "//a.example/",
    "https:a.example",
    "https:/a.example/",
    "https:///a.example/",
    "https://",
    "https:///",
    "https://?x",
    "https://:443/",
    "https://a.example:/",
    "https://a.example:0/",
    "https://a.example:65536/",
    "https://a.example:99999999999999999999/",
    "https://a.example:x/",
    "https://a:1:2/",
    "file:///etc/passwd",
    "gopher://a.example/",
    "ftp://a.example/",
    "dict://a.example/",
    "ldap://a.example/",
    "javascript:alert(1)",
    "http://a.example/",
    "http://8.8.8.8/",
    "https://user@a.example/",
    "https://user:word@a.example/",
    "https://@a.example/",
    "https://:@a.example/",
    "https://a.example#@b.example/",
    "https://a.example/#",
    "https://a.example/x#y",
    "https://a.example\\@b.example/",
    "https://a.example\\b/",
    "https://a.example./",
    "https://localhost./",
    "https://a%2eexample/",
    "https://%61.example/",
    "https://[fe80::1%25lo]/",
    "https://[fe80::1%lo]/",
    "https://[::1",
    "https://::1/",
    "https://[]/",
    "https://[8.8.8.8]/",
    "https://[2606:4700::1111]x/",
    "https://b\xc3\xbc"
    "cher.example/",
    "https://a\xe3\x80\x82"
    "example/",
    "https://\xe2\x91\xa0.1.1.1/",
    "https://a.example/\xc3\xbc",
    "https://a.example/ x",
    " https://a.example/",
    "https://a.example/\r\nX: y",
    "https://a.example/\t",
    "https://a.example/{x}",
    "https://a b.example/",
};

static void test_bad_urls(void **state)
{
    (void)state;
    CLEANUP(net_free) struct net *loose = net_of(true);
    for (size_t i = 0; i < COUNT(bad_urls); i++) {
        for (unsigned reach = NET_GUARDED; reach <= NET_OPERATOR; reach++) {
            struct err e = net_url_check(loose, (enum net_reach)reach, str_of(bad_urls[i]));
            if (e.code != ERR_NET_REFUSED || e.detail[0] == '\0')
                fail_msg("%s: %s (%s)", bad_urls[i], err_name(e.code), e.detail);
        }
    }
    assert_fails(ERR_NET_REFUSED, net_url_check(loose, NET_GUARDED, (struct str){"https://a.example/\0", 19}));
    char longest[2050] = "https://a.example/";
    memset(longest + strlen(longest), 'x', sizeof longest - 1 - strlen(longest));
    assert_ok(net_url_check(loose, NET_GUARDED, (struct str){longest, 2048}));
    assert_fails(ERR_NET_REFUSED, net_url_check(loose, NET_GUARDED, (struct str){longest, 2049}));
}

static void test_no_url_is_quoted(void **state)
{
    (void)state;
    static const char *const bad[] = {"https://user:hunter2@a.example/", "https://a.example/?code=hunter2#x",
                                      "https://a.example/hunter2\\", "http://a.example/?hunter2"};
    CLEANUP(net_free) struct net *n = net_of(false);
    for (size_t i = 0; i < COUNT(bad); i++) {
        struct err e = net_url_check(n, NET_GUARDED, str_of(bad[i]));
        assert_int_equal(ERR_NET_REFUSED, e.code);
        assert_null(strstr(e.detail, "hunter2"));
    }
}

static void test_loopback_urls(void **state)
{
    (void)state;
    static const char *const here[] = {"http://localhost:8080/", "http://LOCALHOST/", "http://127.0.0.1/",
                                       "http://[::1]:1/", "http://127.1/"};
    CLEANUP(net_free) struct net *strict = net_of(false);
    CLEANUP(net_free) struct net *loose = net_of(true);
    for (size_t i = 0; i < COUNT(here); i++) {
        assert_fails(ERR_NET_REFUSED, net_url_check(strict, NET_GUARDED, str_of(here[i])));
        assert_ok(net_url_check(loose, NET_GUARDED, str_of(here[i])));
        assert_ok(net_url_check(strict, NET_OPERATOR, str_of(here[i])));
    }
    static const char *const others[] = {"http://localhost.example/", "http://10.0.0.1/", "http://127.0.0.1.example/",
                                         "http://[fd00::1]/"};
    for (size_t i = 0; i < COUNT(others); i++) {
        assert_fails(ERR_NET_REFUSED, net_url_check(loose, NET_GUARDED, str_of(others[i])));
        assert_fails(ERR_NET_REFUSED, net_url_check(loose, NET_OPERATOR, str_of(others[i])));
    }
    assert_ok(net_url_check(strict, NET_OPERATOR, STR("https://10.0.0.1/")));
    assert_fails(ERR_NET_REFUSED, net_url_check(strict, NET_GUARDED, STR("https://10.0.0.1/")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses),
        cmocka_unit_test(test_loopback_and_plain_http),
        cmocka_unit_test(test_other_socket_addresses),
        cmocka_unit_test(test_allowed_networks),
        cmocka_unit_test(test_mistaken_networks),
        cmocka_unit_test(test_good_urls),
        cmocka_unit_test(test_bad_urls),
        cmocka_unit_test(test_no_url_is_quoted),
        cmocka_unit_test(test_loopback_urls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
