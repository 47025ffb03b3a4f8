#include "tools/keelsonctl/this_agent.h"

#include <boost/test/unit_test.hpp>

#include "host/file.h"

BOOST_AUTO_TEST_SUITE(this_agent_tests)

using namespace keelson;

namespace {

struct ConfigurationFile {
  ConfigurationFile() {
    char name[] = "/tmp/keelson-config-XXXXXX";
    directory = mkdtemp(name);
  }
  ~ConfigurationFile() { std::filesystem::remove_all(directory); }
  std::string holding(const std::string& text) const {
    BOOST_REQUIRE(host::write_file_atomically(directory / "agent.yaml", text));
    return (directory / "agent.yaml").string();
  }
  host::Path directory;
};

agent::Options listening(const std::string& where, const std::string& cert = "") {
  agent::Options options;
  options.listen = where;
  options.tls_cert_file = cert;
  return options;
}

}  // namespace

BOOST_AUTO_TEST_CASE(an_agent_is_asked_where_it_listens) {
  BOOST_TEST(ctl::agent_of({}, {}).url == "http://127.0.0.1:10250");
  BOOST_TEST(ctl::agent_of({}, {}).root_dir == "/var/lib/keelson");
  BOOST_TEST(ctl::agent_of(listening("127.0.0.2:1"), {}).url == "http://127.0.0.2:1");
  BOOST_TEST(ctl::agent_of(listening("[::1]:10250"), {}).url == "http://[::1]:10250");
  // Everywhere is on loopback too.
  BOOST_TEST(ctl::agent_of(listening("0.0.0.0:10250", "/c.pem"), {}).url == "https://127.0.0.1:10250");
  BOOST_TEST(ctl::agent_of(listening("[::]:10250", "/c.pem"), {}).url == "https://[::1]:10250");
  // Nonsense stays what it is, for the error to show.
  BOOST_TEST(ctl::agent_of(listening("nonsense"), {}).url == "http://nonsense");
}

BOOST_AUTO_TEST_CASE(the_agents_own_certificate_is_expected_unless_the_user_names_a_ca_or_an_agent) {
  const auto options = listening("192.0.2.1:10250", "/c.pem");
  BOOST_TEST(ctl::agent_of(options, {}).agent_cert_file == "/c.pem");
  BOOST_TEST(ctl::agent_of(options, {.ca_file = "/ca.pem"}).agent_cert_file == "");
  BOOST_TEST(ctl::agent_of(options, {.ca_file = "/ca.pem"}).ca_file == "/ca.pem");
  const auto elsewhere = ctl::agent_of(options, {.url = "https://other:10250"});
  BOOST_TEST(elsewhere.agent_cert_file == "");
  BOOST_TEST(elsewhere.url == "https://other:10250");
}

BOOST_AUTO_TEST_CASE(what_the_user_says_wins) {
  agent::Options options;
  options.root_dir = "/data";
  BOOST_TEST(ctl::agent_of(options, {}).root_dir == "/data");
  BOOST_TEST(ctl::agent_of(options, {.root_dir = "/mine"}).root_dir == "/mine");
  BOOST_TEST(ctl::agent_of(options, {.cert_file = "/c", .key_file = "/k"}).cert_file == "/c");
}

BOOST_FIXTURE_TEST_CASE(the_configuration_has_the_flags_names, ConfigurationFile) {
  const auto read = ctl::read_configuration(
      holding("listen: 127.0.0.1:1\nroot-dir: /data\nfile-check-frequency: 1m\ninsecure-registry: [a:1, b:2]\n"), true);
  BOOST_REQUIRE(read);
  BOOST_TEST(read->listen == "127.0.0.1:1");
  BOOST_TEST(read->root_dir == "/data");
  BOOST_TEST((read->file_check_frequency == std::chrono::minutes(1)));
  BOOST_TEST(read->insecure_registries.size() == 2U);
  BOOST_TEST(read->service_cidr == agent::Options().service_cidr);
}

BOOST_FIXTURE_TEST_CASE(what_the_agent_goes_by_is_read_back_as_it_was, ConfigurationFile) {
  agent::Options options;
  options.listen = "[::1]:10250";
  options.tls_cert_file = "/a: b #c/\"d\".pem";
  options.root_dir = "/\xc3\xa4 e";
  options.run_dir = "/run/x";
  options.pod_cidr = "10.1.0.0/24,fd00::/64";
  options.insecure_registries = {"a:1", "[::1]:2"};
  const auto read = ctl::read_configuration(holding(agent::configuration_in_force(options)), true);
  BOOST_REQUIRE_MESSAGE(read, read.error().message);
  BOOST_TEST(read->listen == options.listen);
  BOOST_TEST(read->tls_cert_file == options.tls_cert_file);
  BOOST_TEST(read->root_dir == options.root_dir);
  BOOST_TEST(read->run_dir == options.run_dir);
  BOOST_TEST(read->pod_cidr == options.pod_cidr);
  BOOST_TEST(read->registry_ca_file == "");
  BOOST_TEST((read->insecure_registries == options.insecure_registries));
  BOOST_REQUIRE(ctl::read_configuration(holding(agent::configuration_in_force({})), true).has_value());
}

BOOST_FIXTURE_TEST_CASE(a_broken_configuration_is_refused_with_its_line_when_it_is_named, ConfigurationFile) {
  const auto refused = [&](const std::string& text, std::string_view why) {
    const auto read = ctl::read_configuration(holding(text), true);
    BOOST_TEST(!read.has_value(), text);
    if (!read) BOOST_TEST(read.error().message.find(why) != std::string::npos, read.error().message);
  };
  refused("listen: 127.0.0.1:1\nno-such-flag: 1\n", "agent.yaml:2: unknown setting \"no-such-flag\"");
  refused("config: /other.yaml\n", "agent.yaml:1: unknown setting \"config\"");
  refused("\nlisten: {a: b}\n", "agent.yaml:2: listen must be a value or a list");
  refused("listen: [a, b]\n", "agent.yaml:1: listen takes one value, not a list");
  refused("root-dir: /a\nlisten: a:1\nroot-dir: /b\n", "agent.yaml:3: root-dir stands here twice");
  refused("- a\n- b\n", "expected a map");
  refused("text", "expected a map");
  refused("listen: [\n", "agent.yaml");
  refused("http-check-frequency: often\n", "--http-check-frequency: \"often\" is not a duration");
  BOOST_TEST(!ctl::read_configuration("/no/such/agent.yaml", true).has_value());
}

BOOST_FIXTURE_TEST_CASE(a_broken_or_absent_configuration_that_nobody_named_means_defaults, ConfigurationFile) {
  BOOST_REQUIRE(ctl::read_configuration("/no/such/agent.yaml", false).has_value());
  const auto read = ctl::read_configuration(holding("no-such-flag: 1\n"), false);
  BOOST_REQUIRE(read);
  BOOST_TEST(read->listen == agent::Options().listen);
  BOOST_REQUIRE(ctl::read_configuration("", true).has_value());
}

BOOST_AUTO_TEST_SUITE_END()
