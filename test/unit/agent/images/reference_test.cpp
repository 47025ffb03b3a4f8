#include "agent/images/reference.h"

#include <boost/test/unit_test.hpp>

#include "agent/images/manifest.h"
#include "agent/images/puller/registry.h"

namespace keelson::images {
BOOST_AUTO_TEST_SUITE(reference_tests)
namespace {

std::string normal(std::string_view text) {
  auto reference = parse_reference(text);
  return reference ? reference->text() : reference.error().message;
}

const std::string kHex(64, 'a');

BOOST_AUTO_TEST_CASE(short_names_mean_docker_hub_and_latest) {
  BOOST_TEST(normal("nginx") == "docker.io/library/nginx:latest");
  BOOST_TEST(normal("nginx:1.25") == "docker.io/library/nginx:1.25");
  BOOST_TEST(normal("team/app") == "docker.io/team/app:latest");
  BOOST_TEST(normal("index.docker.io/library/nginx:1") == "docker.io/library/nginx:1");
  BOOST_TEST(normal("docker.io/nginx") == "docker.io/library/nginx:latest");
}

BOOST_AUTO_TEST_CASE(a_first_part_with_dot_colon_or_localhost_is_a_registry) {
  BOOST_TEST(normal("quay.io/x/y:1") == "quay.io/x/y:1");
  BOOST_TEST(normal("localhost:5000/a") == "localhost:5000/a:latest");
  BOOST_TEST(normal("localhost/a") == "localhost/a:latest");
  BOOST_TEST(normal("[::1]:5000/a:1") == "[::1]:5000/a:1");
  BOOST_TEST(normal("127.0.0.1:5000/a/b/c") == "127.0.0.1:5000/a/b/c:latest");
}

BOOST_AUTO_TEST_CASE(a_digest_wins_over_the_tag) {
  BOOST_TEST(normal("nginx@sha256:" + kHex) == "docker.io/library/nginx@sha256:" + kHex);
  auto both = parse_reference("nginx:1.25@sha256:" + kHex);
  BOOST_REQUIRE(both);
  BOOST_TEST(both->tag == "1.25");
  BOOST_TEST(both->version() == "sha256:" + kHex);
}

BOOST_AUTO_TEST_CASE(bad_names_are_refused_with_the_reason) {
  for (const char* bad : {"", "UPPER", "a:b:c", "a/../b", "a//b", "/a", "a/", "-a", "a:", "a:.x", "a@sha256:abc",
                          "a@md5:0123", "reg.io:port/a", "reg.io:123456/a", "a b", "a\nb", "[::1/a", "x.y/", "a__-b"}) {
    auto parsed = parse_reference(bad);
    BOOST_TEST(!parsed, bad);
    if (!parsed) {
      BOOST_TEST((parsed.error().code == host::Error::Code::invalid));
      BOOST_TEST(parsed.error().message.find("couldn't parse image name") != std::string::npos);
    }
  }
  BOOST_TEST(normal("UPPER").find("must be lowercase") != std::string::npos);
  BOOST_TEST(!parse_reference(std::string(300, 'a')));
  BOOST_TEST(!parse_reference("a:" + std::string(129, 't')));
  BOOST_TEST(!parse_reference(kHex));
}

BOOST_AUTO_TEST_CASE(traffic_for_docker_hub_goes_to_its_registry) {
  BOOST_TEST(traffic_host("docker.io") == "registry-1.docker.io");
  BOOST_TEST(traffic_host("localhost:5000") == "localhost:5000");
}

BOOST_AUTO_TEST_CASE(only_loopback_is_loopback) {
  for (const char* yes : {"localhost", "localhost:5000", "127.0.0.1", "127.9.9.9:80", "[::1]:5000"}) {
    BOOST_TEST(is_loopback(yes), yes);
  }
  for (const char* no : {"localhost.evil.com", "128.0.0.1", "127.0.0.1.evil.com:5000", "[::2]:1", "docker.io"}) {
    BOOST_TEST(!is_loopback(no), no);
  }
}

BOOST_AUTO_TEST_CASE(the_longest_matching_credential_is_chosen) {
  std::vector<api::RegistryCredential> all = {{"https://index.docker.io/v1/", "hub", ""},
                                              {"reg.io", "host", ""},
                                              {"reg.io/team", "team", ""},
                                              {"*.example.com", "star", ""}};
  auto user = [&](std::string_view name) {
    const auto* chosen = choose_credential(all, *parse_reference(name));
    return chosen ? chosen->username : "none";
  };
  BOOST_TEST(user("nginx") == "hub");
  BOOST_TEST(user("reg.io/a") == "host");
  BOOST_TEST(user("reg.io/team/a") == "team");
  BOOST_TEST(user("reg.io/teamwork/a") == "host");
  BOOST_TEST(user("x.example.com/a") == "star");
  BOOST_TEST(user("x.y.example.com/a") == "none");
  BOOST_TEST(user("evil.io/a") == "none");
}

BOOST_AUTO_TEST_CASE(challenges_are_read_with_quotes_and_commas) {
  auto challenge =
      parse_challenge(R"(Bearer realm="https://a/t?x=1,2",service="s v",scope="repository:a/b:pull,push")");
  BOOST_TEST(challenge.scheme == "bearer");
  BOOST_TEST(challenge.parameters["realm"] == "https://a/t?x=1,2");
  BOOST_TEST(challenge.parameters["service"] == "s v");
  BOOST_TEST(challenge.parameters["scope"] == "repository:a/b:pull,push");
  for (const char* odd : {"", "Bearer", "Bearer realm", "Bearer realm=\"", "Basic ,,,=,\"\\"}) parse_challenge(odd);
}

BOOST_AUTO_TEST_CASE(origins_compare_scheme_host_and_port) {
  BOOST_TEST((*origin_of("https://A.io/x") == *origin_of("https://a.io:443/y")));
  BOOST_TEST((*origin_of("https://a.io/") != *origin_of("http://a.io/")));
  BOOST_TEST((*origin_of("https://a.io/") != *origin_of("https://a.io:444/")));
  BOOST_TEST((*origin_of("https://a.io@b.io/")).host == "b.io");
}

// ---- manifests

std::string message(std::string_view text) {
  auto parsed = parse_manifest(text);
  return parsed ? "fine" : parsed.error().message;
}
const std::string kDescriptor = R"({"digest":"sha256:)" + kHex + R"(","size":5})";

BOOST_AUTO_TEST_CASE(a_manifest_that_is_an_index_too_is_refused) {
  BOOST_TEST(message(R"({"manifests":[],"layers":[],"config":{}})").find("index as well") != std::string::npos);
  BOOST_TEST(message(R"({"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]})") != "fine");
}

BOOST_AUTO_TEST_CASE(hostile_json_is_refused) {
  BOOST_TEST(message("").find("no JSON") != std::string::npos);
  BOOST_TEST(message("[]").find("no JSON object") != std::string::npos);
  BOOST_TEST(message(std::string(1'000'000, '[')).find("nested deeper") != std::string::npos);
  BOOST_TEST(message(R"({"a":")" + std::string(5u << 20, 'x') + R"("})").find("bytes") != std::string::npos);
  BOOST_TEST(message(R"({"schemaVersion":1,"fsLayers":[]})").find("schema 1") != std::string::npos);
  BOOST_TEST(message(R"({"config":)" + kDescriptor + R"(,"layers":[{"digest":"sha256:../../x","size":1}]})") != "fine");
  BOOST_TEST(
      message(R"({"config":)" + kDescriptor + R"(,"layers":[{"digest":"sha512:00","size":1}]})").find("not sha256") !=
      std::string::npos);
  BOOST_TEST(message(R"({"config":)" + kDescriptor + R"(,"layers":[{"digest":"sha256:)" + kHex + R"(","size":-1}]})") !=
             "fine");
  std::string many;
  for (int i = 0; i < 129; ++i) many += (i ? "," : "") + kDescriptor;
  BOOST_TEST(message(R"({"config":)" + kDescriptor + R"(,"layers":[)" + many + "]}").find("129 layers") !=
             std::string::npos);
}

BOOST_AUTO_TEST_CASE(the_manifest_for_this_platform_is_chosen) {
  Index index;
  for (const char* architecture : {"arm64", "amd64", "riscv64"}) {
    Descriptor one;
    one.platform = {"linux", architecture, ""};
    one.media_type = architecture;
    index.manifests.push_back(one);
  }
  Descriptor attestation;
  attestation.platform = {"unknown", "unknown", ""};
  index.manifests.push_back(attestation);
  BOOST_TEST(choose(index, {"linux", "amd64", ""})->media_type == "amd64");
  auto none = choose(index, {"linux", "s390x", ""});
  BOOST_REQUIRE(!none);
  BOOST_TEST(none.error().message ==
             "the image is not for linux/s390x: it has linux/arm64, linux/amd64, linux/riscv64");
}

}  // namespace
BOOST_AUTO_TEST_SUITE_END()
}  // namespace keelson::images
