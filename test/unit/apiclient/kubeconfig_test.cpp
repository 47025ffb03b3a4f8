#include "apiclient/kubeconfig.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(kubeconfig_tests)

using keelson::apiclient::parse_kubeconfig;
namespace host = keelson::host;

namespace {

const std::string kFile = R"(
apiVersion: v1
kind: Config
preferences: {}
clusters:
- name: files
  cluster:
    server: https://127.0.0.1:6443
    certificate-authority: pki/ca.crt
- name: inline
  cluster:
    server: https://[::1]:6443/
    certificate-authority-data: Q0EK
    tls-server-name: kubernetes
- name: trusting
  cluster: {server: "https://10.0.0.1", insecure-skip-tls-verify: true}
users:
- name: files
  user: {client-certificate: pki/me.crt, client-key: /abs/me.key}
- name: inline
  user:
    client-certificate-data: Q0VSVAo=
    client-key-data: S0VZCg==
- name: token
  user: {token: secret}
contexts:
- name: files
  context: {cluster: files, user: files}
- name: inline
  context: {cluster: inline, user: inline, namespace: shop}
- name: token
  context: {cluster: trusting, user: token}
- name: nobody
  context: {cluster: files}
current-context: files
)";

std::string refusal(const std::string& text, const std::string& context = {}) {
  const auto config = parse_kubeconfig(text, "/etc", context);
  if (config) return "it was taken";
  BOOST_TEST((config.error().code == host::Error::Code::invalid));
  return config.error().message;
}

std::string replaced(const std::string& from, const std::string& to) {
  auto text = kFile;
  const auto at = text.find(from);
  BOOST_REQUIRE(at != std::string::npos);
  return text.replace(at, from.size(), to);
}

}  // namespace

BOOST_AUTO_TEST_CASE(the_current_context_is_taken_with_paths_beside_the_file) {
  const auto config = parse_kubeconfig(kFile, "/etc/keelson");
  BOOST_REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
  BOOST_TEST(config->server == "https://127.0.0.1:6443");
  BOOST_TEST(config->tls.verify);
  BOOST_TEST(config->tls.ca_file == "/etc/keelson/pki/ca.crt");
  BOOST_TEST(config->tls.cert_file == "/etc/keelson/pki/me.crt");
  BOOST_TEST(config->tls.key_file == "/abs/me.key");
  BOOST_TEST(config->namespace_ == "default");
  BOOST_TEST(config->token == "");
}

BOOST_AUTO_TEST_CASE(another_context_may_be_asked_for) {
  const auto config = parse_kubeconfig(kFile, "/", "inline");
  BOOST_REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
  BOOST_TEST(config->tls.ca_data == "CA\n");
  BOOST_TEST(config->tls.cert_data == "CERT\n");
  BOOST_TEST(config->tls.key_data == "KEY\n");
  BOOST_TEST(config->tls.server_name == "kubernetes");
  BOOST_TEST(config->namespace_ == "shop");
  const auto token = parse_kubeconfig(kFile, "/", "token");
  BOOST_REQUIRE(token.has_value());
  BOOST_TEST(token->token == "secret");
  BOOST_TEST(!token->tls.verify);
  BOOST_TEST(parse_kubeconfig(kFile, "/", "nobody").has_value());
}

BOOST_AUTO_TEST_CASE(json_is_yaml_too) {
  const auto config =
      parse_kubeconfig(R"({"kind":"Config","current-context":"a","contexts":[{"name":"a","context":{"cluster":"c"}}],)"
                       R"("clusters":[{"name":"c","cluster":{"server":"http://127.0.0.1:8080"}}]})",
                       "/");
  BOOST_REQUIRE_MESSAGE(config.has_value(), (config ? "" : config.error().message));
  BOOST_TEST(config->server == "http://127.0.0.1:8080");
}

BOOST_AUTO_TEST_CASE(errors_name_the_field) {
  BOOST_TEST(refusal(kFile, "other") == "the context asked for: there is no \"other\" among the contexts");
  BOOST_TEST(refusal(replaced("current-context: files", "current-context: x")) ==
             "current-context: there is no \"x\" among the contexts");
  BOOST_TEST(refusal(replaced("current-context: files", "")) ==
             "current-context: missing, and no context was asked for");
  BOOST_TEST(refusal(replaced("cluster: files, user", "cluster: gone, user")) ==
             "contexts[0].context.cluster: there is no \"gone\" among the clusters");
  BOOST_TEST(refusal(replaced("user: files}", "user: gone}")) ==
             "contexts[0].context.user: there is no \"gone\" among the users");
  BOOST_TEST(refusal(replaced("S0VZCg==", "'%%%'"), "inline") == "users[1].user.client-key-data: not base64");
  BOOST_TEST(refusal(replaced("https://127.0.0.1:6443", "gopher://x")).starts_with("clusters[0].cluster.server: "));
  BOOST_TEST(refusal(replaced("https://127.0.0.1:6443", "https://x/prefix")) ==
             "clusters[0].cluster.server: a path is not supported");
  BOOST_TEST(refusal(replaced("    server: https://127.0.0.1:6443\n", "")) == "clusters[0].cluster.server: missing");
  BOOST_TEST(refusal(replaced(", client-key: /abs/me.key", "")) ==
             "users[0].user.client-key: missing beside the client certificate");
  BOOST_TEST(refusal(replaced("{client-certificate: pki/me.crt, ", "{")) ==
             "users[0].user.client-certificate: missing beside the client key");
  BOOST_TEST(refusal(replaced("client-certificate: pki/me.crt", "client-certificate: [1]")) ==
             "users[0].user.client-certificate: not a string");
  BOOST_TEST(refusal(replaced("{token: secret}", "{exec: {command: x}}"), "token") ==
             "users[2].user.exec: not supported; use a certificate or a token");
  BOOST_TEST(refusal(replaced("insecure-skip-tls-verify: true", "insecure-skip-tls-verify: maybe"), "token") ==
             "clusters[2].cluster.insecure-skip-tls-verify: not true or false");
  BOOST_TEST(
      refusal(replaced("insecure-skip-tls-verify: true", "insecure-skip-tls-verify: true, certificate-authority: x"),
              "token") == "clusters[2].cluster.insecure-skip-tls-verify: not together with a certificate authority");
  BOOST_TEST(refusal("kind: Pod") == "kind: \"Pod\" is not \"Config\"");
  BOOST_TEST(refusal("") == "not a kubeconfig: one YAML object is expected");
  BOOST_TEST(refusal("\xff\xfe") == "not a text");
  BOOST_TEST(refusal("a: [").starts_with("line "));
  BOOST_TEST(refusal("kind: Config\ncontexts: [1]\ncurrent-context: a") == "contexts[0]: not an object");
  BOOST_TEST(refusal("kind: Config\ncontexts: [{name: a}]\ncurrent-context: a") == "contexts[0].context: missing");
}

BOOST_AUTO_TEST_CASE(a_file_that_is_not_there_is_named) {
  const auto config = keelson::apiclient::load_kubeconfig("/nonexistent/admin.kubeconfig");
  BOOST_REQUIRE(!config.has_value());
  BOOST_TEST((config.error().code == host::Error::Code::not_found));
  BOOST_TEST(config.error().message.find("/nonexistent/admin.kubeconfig") != std::string::npos);
}

BOOST_AUTO_TEST_SUITE_END()
