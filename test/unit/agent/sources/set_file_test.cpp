#include "agent/sources/set_file.h"

#include <stdlib.h>
#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "agent/sources/file_source.h"
#include "agent/sources/sources.h"
#include "agent/sources/url_source.h"
#include "api/validate.h"

namespace keelson::sources {
BOOST_AUTO_TEST_SUITE(set_file_tests)
namespace {

struct Directory {
  Directory() { BOOST_REQUIRE(::mkdtemp(name) != nullptr); }
  ~Directory() { std::filesystem::remove_all(name); }
  host::Path file() const { return host::Path(name) / "sources" / "url.set"; }
  char name[32] = "/tmp/keelson-set-XXXXXX";
};

std::vector<AcceptedPtr> objects() {
  std::vector<AcceptedPtr> result;
  const std::string text =
      "apiVersion: v1\nkind: Pod\nmetadata: {name: web, annotations: {a: \"tab\\tnewline\\n\"}}\n"
      "spec: {containers: [{name: c, image: i, resources: {limits: {cpu: 500m}}}]}\n---\n"
      "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ndata: {k: AAEC}\n---\n"
      "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{port: 80}]}\n";
  auto prepared = prepare(Rules{.node_name = "n"}, "url",
                          std::make_shared<const Document>(Document{.name = "odd\tna\\me\n.yaml", .text = text}));
  for (auto& one : prepared.objects) {
    BOOST_REQUIRE(one.allowed);
    result.push_back(std::make_shared<const Accepted>(std::move(one.accepted)));
  }
  BOOST_REQUIRE_EQUAL(result.size(), 3U);
  return result;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_set_comes_back_from_disk_as_it_was, Directory) {
  const auto written = objects();
  BOOST_REQUIRE(write_set(file(), "url", written));
  const auto read = read_set(file(), "url", 1 << 20);
  BOOST_REQUIRE_MESSAGE(read, read.error().message);
  BOOST_REQUIRE_EQUAL(read->size(), written.size());
  for (size_t i = 0; i < read->size(); ++i) BOOST_TEST(((*read)[i] == *written[i]));
}

BOOST_FIXTURE_TEST_CASE(the_file_is_for_root_alone, Directory) {
  BOOST_REQUIRE(write_set(file(), "url", objects()));
  struct stat status{};
  BOOST_REQUIRE(::stat(file().c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0600U);
  BOOST_REQUIRE(::stat(file().parent_path().c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 0777) == 0700U);
}

BOOST_FIXTURE_TEST_CASE(a_file_that_is_damaged_anywhere_is_refused_whole, Directory) {
  BOOST_REQUIRE(write_set(file(), "url", objects()));
  const auto good = host::read_file(file());
  BOOST_REQUIRE(good);
  for (size_t at = 0; at < good->size(); at += 7) {
    std::string bad = *good;
    bad[at] = static_cast<char>(bad[at] ^ 1);
    std::ofstream(file(), std::ios::trunc) << bad;
    const auto read = read_set(file(), "url", 1 << 20);
    BOOST_REQUIRE(!read);
    BOOST_TEST((read.error().code == host::Error::Code::invalid));
  }
  for (const size_t length : {size_t{0}, size_t{1}, good->size() / 2, good->size() - 1}) {
    std::ofstream(file(), std::ios::trunc) << good->substr(0, length);
    BOOST_TEST(!read_set(file(), "url", 1 << 20));
  }
}

BOOST_FIXTURE_TEST_CASE(the_set_of_another_source_is_refused, Directory) {
  BOOST_REQUIRE(write_set(file(), "etcd", objects()));
  BOOST_TEST(!read_set(file(), "url", 1 << 20));
}

BOOST_FIXTURE_TEST_CASE(no_file_is_not_found_and_an_empty_set_is_a_set, Directory) {
  BOOST_TEST((read_set(file(), "url", 1 << 20).error().code == host::Error::Code::not_found));
  BOOST_REQUIRE(write_set(file(), "url", {}));
  const auto read = read_set(file(), "url", 1 << 20);
  BOOST_REQUIRE(read);
  BOOST_TEST(read->empty());
}

BOOST_AUTO_TEST_CASE(hidden_files_and_what_editors_leave_are_no_manifests) {
  for (const auto* name : {"web.yaml", "web.yml", "web.json", "a b.yaml"}) BOOST_TEST(is_manifest_name(name));
  for (const auto* name : {".web.yaml", ".web.yaml.swp", "web.yaml~", "#web.yaml#", "web.yaml.bak", "README", "yaml",
                           "web.YAML.orig", "..data", "4913", ".#web.yaml"}) {
    BOOST_TEST_CONTEXT(name) { BOOST_TEST(!is_manifest_name(name)); }
  }
}

BOOST_AUTO_TEST_CASE(a_password_in_the_url_is_not_shown) {
  BOOST_TEST(without_credentials("https://user:secret@host:8443/a?b=c@d") == "https://host:8443/a?b=c@d");
  BOOST_TEST(without_credentials("https://host/a@b") == "https://host/a@b");
  BOOST_TEST(without_credentials("https://u:p@ss@host") == "https://host");
}

BOOST_AUTO_TEST_CASE(url_headers_are_a_name_and_a_value) {
  const auto header = parse_url_header("Authorization: Bearer a:b ");
  BOOST_REQUIRE(header);
  BOOST_TEST(header->first == "Authorization");
  BOOST_TEST(header->second == "Bearer a:b");
  BOOST_TEST(parse_url_header("X:").has_value());
  for (const auto* wrong : {"", "X", ":v", "A b: c", "X: a\r\nY: b"}) {
    BOOST_TEST_CONTEXT(wrong) { BOOST_TEST(!parse_url_header(wrong)); }
  }
}

BOOST_AUTO_TEST_SUITE_END()
}  // namespace keelson::sources
