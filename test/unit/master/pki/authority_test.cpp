#include "master/pki/authority.h"

#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

#include "master/pki/kubeconfig.h"

using namespace keelson;
using namespace keelson::pki;
using namespace std::chrono_literals;

namespace {

const Time kNow = std::chrono::system_clock::from_time_t(1'790'000'000);

struct Scratch {
  host::Path path;
  explicit Scratch(const std::string& suffix = {})
      : path(std::filesystem::temp_directory_path() / ("keelson-pki-" + std::to_string(::getpid()) + suffix)) {
    std::filesystem::remove_all(path);
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::unique_ptr<Authority> open(Time now = kNow) const {
    auto authority = Authority::open_or_create(path, now);
    BOOST_REQUIRE_MESSAGE(authority, authority.error().message);
    return std::move(*authority);
  }
};

mode_t mode_of(const host::Path& file) {
  struct stat status{};
  BOOST_REQUIRE_EQUAL(::stat(file.c_str(), &status), 0);
  return status.st_mode & 07777;
}

using X509Ptr = std::unique_ptr<X509, decltype(&X509_free)>;
X509Ptr parse(const std::string& pem) {
  BIO* bio = BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size()));
  X509Ptr certificate(PEM_read_bio_X509(bio, nullptr, nullptr, nullptr), X509_free);
  BIO_free(bio);
  BOOST_REQUIRE(certificate);
  return certificate;
}

// As a peer would: the chain, the purpose, the name; at that time.
bool verifies(const std::string& authority, const std::string& certificate, Time at, const char* purpose,
              const std::string& name = {}) {
  auto root = parse(authority);
  auto leaf = parse(certificate);
  X509_STORE* store = X509_STORE_new();
  X509_STORE_add_cert(store, root.get());
  X509_STORE_CTX* context = X509_STORE_CTX_new();
  X509_STORE_CTX_init(context, store, leaf.get(), nullptr);
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context);
  X509_STORE_CTX_set_default(context, purpose);
  X509_VERIFY_PARAM_set_time(parameters, std::chrono::system_clock::to_time_t(at));
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  if (!name.empty()) {
    if (X509_VERIFY_PARAM_set1_ip_asc(parameters, name.c_str()) != 1) {
      X509_VERIFY_PARAM_set1_host(parameters, name.c_str(), name.size());
    }
  }
  const bool good = X509_verify_cert(context) == 1;
  if (!good) BOOST_TEST_MESSAGE(X509_verify_cert_error_string(X509_STORE_CTX_get_error(context)));
  X509_STORE_CTX_free(context);
  X509_STORE_free(store);
  return good;
}

const Subject kServer = {.common_name = "kube-apiserver",
                         .dns_names = {"kubernetes.default.svc", "localhost"},
                         .addresses = {"10.96.0.1", "127.0.0.1", "::1"},
                         .server = true};

}  // namespace

BOOST_AUTO_TEST_CASE(what_the_authority_issues_convinces_a_strict_peer_for_its_names_and_purpose) {
  Scratch scratch;
  auto authority = scratch.open();
  auto pair = authority->issue(kServer, kNow);
  BOOST_REQUIRE(pair);
  for (const char* name : {"localhost", "kubernetes.default.svc", "10.96.0.1", "::1"}) {
    BOOST_TEST(verifies(authority->certificate(), pair->certificate, kNow, "ssl_server", name));
  }
  BOOST_TEST(!verifies(authority->certificate(), pair->certificate, kNow, "ssl_server", "10.96.0.2"));
  BOOST_TEST(!verifies(authority->certificate(), pair->certificate, kNow, "ssl_server", "example.com"));
  BOOST_TEST(!verifies(authority->certificate(), pair->certificate, kNow, "ssl_client"));
  auto client = authority->issue({.common_name = "admin", .organizations = {"system:masters"}, .client = true}, kNow);
  BOOST_REQUIRE(client);
  BOOST_TEST(verifies(authority->certificate(), client->certificate, kNow, "ssl_client"));
  BOOST_TEST(!verifies(authority->certificate(), client->certificate, kNow, "ssl_server"));
}

BOOST_AUTO_TEST_CASE(certificates_have_a_beginning_and_an_end_that_the_authority_outlives) {
  Scratch scratch;
  auto authority = scratch.open();
  auto pair = authority->issue(kServer, kNow);
  BOOST_REQUIRE(pair);
  BOOST_TEST(verifies(authority->certificate(), pair->certificate, kNow - 4min, "ssl_server"));
  BOOST_TEST(!verifies(authority->certificate(), pair->certificate, kNow - 6min, "ssl_server"));
  BOOST_TEST(verifies(authority->certificate(), pair->certificate, kNow + kLifetime - 1h, "ssl_server"));
  BOOST_TEST(!verifies(authority->certificate(), pair->certificate, kNow + kLifetime + 1h, "ssl_server"));
  auto late = authority->issue(kServer, kNow + kAuthorityLifetime - 24h);
  BOOST_REQUIRE(late);
  auto leaf = parse(late->certificate);
  auto root = parse(authority->certificate());
  BOOST_TEST(ASN1_TIME_compare(X509_get0_notAfter(leaf.get()), X509_get0_notAfter(root.get())) <= 0);
}

BOOST_AUTO_TEST_CASE(private_keys_are_their_owners_alone) {
  Scratch scratch;
  auto authority = scratch.open();
  auto ensured = authority->ensure("apiserver", kServer, kNow);
  BOOST_REQUIRE(ensured);
  BOOST_TEST(mode_of(scratch.path) == 0700U);
  BOOST_TEST(mode_of(scratch.path / "ca.key") == 0600U);
  BOOST_TEST(mode_of(ensured->key_file) == 0600U);
  ::chmod(ensured->key_file.c_str(), 0644);
  BOOST_TEST(!authority->ensure("apiserver", kServer, kNow)->renewed);
  BOOST_TEST(mode_of(ensured->key_file) == 0600U);
}

BOOST_AUTO_TEST_CASE(the_authority_is_the_same_after_a_restart) {
  Scratch scratch;
  const auto before = scratch.open()->certificate();
  BOOST_TEST(scratch.open(kNow + 24h)->certificate() == before);
}

BOOST_AUTO_TEST_CASE(a_certificate_stays_until_a_third_of_its_life_is_left) {
  Scratch scratch;
  auto authority = scratch.open();
  auto first = authority->ensure("apiserver", kServer, kNow);
  BOOST_REQUIRE(first);
  BOOST_TEST(first->renewed);
  BOOST_TEST(first->why == "there was none");
  BOOST_TEST(!first->not_after.empty());
  BOOST_TEST(!authority->ensure("apiserver", kServer, kNow + kLifetime / 2)->renewed);
  auto renewed = authority->ensure("apiserver", kServer, kNow + kLifetime * 7 / 10);
  BOOST_REQUIRE(renewed);
  BOOST_TEST(renewed->renewed);
  BOOST_TEST(renewed->why.starts_with("it ends "));
}

BOOST_AUTO_TEST_CASE(a_certificate_is_made_anew_when_it_no_longer_says_what_it_should) {
  Scratch scratch;
  auto authority = scratch.open();
  BOOST_REQUIRE(authority->ensure("apiserver", kServer, kNow));
  Subject more = kServer;
  more.addresses.push_back("192.0.2.7");
  BOOST_TEST(authority->ensure("apiserver", more, kNow)->why == "names or addresses came to it");
  BOOST_TEST(!authority->ensure("apiserver", kServer, kNow)->renewed);  // fewer is no reason
  more.client = true;
  BOOST_TEST(authority->ensure("apiserver", more, kNow)->why == "it is another subject's");
  more.organizations = {"system:masters"};
  BOOST_TEST(authority->ensure("apiserver", more, kNow)->why == "it is another subject's");
}

BOOST_AUTO_TEST_CASE(what_is_broken_or_foreign_is_replaced) {
  Scratch scratch;
  auto authority = scratch.open();
  auto ensured = authority->ensure("apiserver", kServer, kNow);
  BOOST_REQUIRE(ensured);
  std::ofstream(ensured->certificate_file) << "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
  BOOST_TEST(authority->ensure("apiserver", kServer, kNow)->renewed);
  std::ofstream(ensured->key_file) << authority->issue(kServer, kNow)->key;
  BOOST_TEST(authority->ensure("apiserver", kServer, kNow)->why == "its key is another one");
  std::filesystem::remove(ensured->key_file);
  BOOST_TEST(authority->ensure("apiserver", kServer, kNow)->renewed);
  std::filesystem::remove(scratch.path / "ca.key");
  std::filesystem::remove(scratch.path / "ca.crt");
  BOOST_TEST(scratch.open()->ensure("apiserver", kServer, kNow)->why == "another authority signed it");
}

BOOST_AUTO_TEST_CASE(a_lost_authority_certificate_is_made_again_for_the_same_key) {
  Scratch scratch;
  auto authority = scratch.open();
  auto pair = authority->issue(kServer, kNow);
  std::filesystem::remove(scratch.path / "ca.crt");
  auto again = scratch.open();
  BOOST_TEST(verifies(again->certificate(), pair->certificate, kNow, "ssl_server"));
  BOOST_TEST(verifies(authority->certificate(), again->issue(kServer, kNow)->certificate, kNow, "ssl_server"));
}

BOOST_AUTO_TEST_CASE(an_authority_that_is_half_there_or_has_expired_is_refused) {
  Scratch scratch;
  scratch.open();
  BOOST_TEST(Authority::open_or_create(scratch.path, kNow + kAuthorityLifetime).error().message.find("expired") !=
             std::string::npos);
  Scratch other("-other");
  other.open();
  std::filesystem::copy_file(other.path / "ca.key", scratch.path / "ca.key",
                             std::filesystem::copy_options::overwrite_existing);
  BOOST_TEST(Authority::open_or_create(scratch.path, kNow).error().message.find("do not belong together") !=
             std::string::npos);
  std::filesystem::remove(scratch.path / "ca.key");
  BOOST_TEST((Authority::open_or_create(scratch.path, kNow).error().code == host::Error::Code::not_found));
}

BOOST_AUTO_TEST_CASE(names_from_outside_add_nothing_but_themselves) {
  Scratch scratch;
  auto authority = scratch.open();
  auto pair = authority->issue({.common_name = "system:node:a, O=system:masters/O=system:masters",
                                .dns_names = {"a,DNS:b", "b\nDNS:c"},
                                .client = true},
                               kNow);
  BOOST_REQUIRE(pair);
  auto leaf = parse(pair->certificate);
  BOOST_TEST(X509_NAME_entry_count(X509_get_subject_name(leaf.get())) == 1);
  BOOST_TEST(!verifies(authority->certificate(), pair->certificate, kNow, "ssl_client", "b"));
  BOOST_TEST((authority->issue({.common_name = std::string(65, 'x'), .client = true}, kNow).error().code ==
              host::Error::Code::invalid));
  BOOST_TEST((authority->issue({.common_name = "a", .addresses = {"1.2.3"}, .client = true}, kNow).error().code ==
              host::Error::Code::invalid));
}

BOOST_AUTO_TEST_CASE(a_kubeconfig_quotes_what_it_is_given) {
  const auto text = write_kubeconfig({.server = "https://192.0.2.1:6443",
                                      .authority = "ca\n",
                                      .user = "a\"\nusers: []",
                                      .credentials = {.certificate = "c", .key = "k"}});
  BOOST_TEST(text.find("- name: \"a\\\"\\x0ausers: []\"\n") != std::string::npos);
  BOOST_TEST(text.find("certificate-authority-data: Y2EK\n") != std::string::npos);
  BOOST_TEST(text.find("client-key-data: aw==\n") != std::string::npos);
}
