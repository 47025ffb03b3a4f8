#include "apiclient/kubeconfig.h"

#include <fmt/format.h>

#include "api/decode.h"
#include "api/tree.h"
#include "host/file.h"

namespace keelson::apiclient {

namespace {

using api::Value;

std::unexpected<host::Error> invalid(const std::string& field, std::string_view what) {
  return host::fail(host::Error::Code::invalid, fmt::format("{}: {}", field, what));
}

// One struct of the file, and where it stands ("users[0].user").
struct Section {
  const Value* value = nullptr;
  std::string field;

  std::string path(std::string_view key) const { return fmt::format("{}.{}", field, key); }
  bool has(std::string_view key) const {
    const auto* found = value ? value->find(key) : nullptr;
    return found != nullptr && found->kind != Value::Kind::null;
  }
  // "" when it is absent.
  host::Result<std::string> string(std::string_view key) const {
    if (!has(key)) return std::string();
    const auto* found = value->find(key);
    if (found->kind != Value::Kind::string) return invalid(path(key), "not a string");
    return std::string(found->text);
  }
  host::Result<bool> flag(std::string_view key) const {
    if (!has(key)) return false;
    const auto* found = value->find(key);
    if (found->kind != Value::Kind::boolean) return invalid(path(key), "not true or false");
    return found->flag;
  }
  host::Result<std::string> base64(std::string_view key) const {
    auto text = string(key);
    if (!text || text->empty()) return text;
    auto bytes = api::decode_base64(*text);
    if (!bytes) return invalid(path(key), "not base64");
    return std::move(*bytes);
  }
  host::Result<std::string> file(std::string_view key, const std::string& directory) const {
    auto text = string(key);
    if (!text || text->empty() || text->starts_with('/')) return text;
    return (host::Path(directory) / *text).lexically_normal().string();
  }
};

// clusters, users and contexts are lists of {name: …, <kind>: {…}}.
host::Result<Section> named(const Value& root, std::string_view list, std::string_view kind, const std::string& name,
                            const std::string& asked_by) {
  const auto* items = root.find(list);
  if (items != nullptr && items->kind == Value::Kind::list) {
    for (size_t i = 0; i < items->members.size(); ++i) {
      const auto* item = items->members[i].value;
      if (item->kind != Value::Kind::object) return invalid(fmt::format("{}[{}]", list, i), "not an object");
      if (item->string("name") != name) continue;
      const Section found{.value = item->find(kind), .field = fmt::format("{}[{}].{}", list, i, kind)};
      if (found.value == nullptr || found.value->kind != Value::Kind::object) return invalid(found.field, "missing");
      return found;
    }
  }
  return invalid(asked_by, fmt::format("there is no \"{}\" among the {}", name, list));
}

host::Status read_cluster(const Section& cluster, const std::string& directory, Config& config) {
  auto server = cluster.string("server");
  if (!server) return std::unexpected(std::move(server.error()));
  if (server->empty()) return invalid(cluster.path("server"), "missing");
  const auto url = http::parse_url(*server);
  if (!url) return invalid(cluster.path("server"), url.error().message);
  if (url->target != "/") return invalid(cluster.path("server"), "a path is not supported");
  config.server = std::move(*server);
  if (cluster.has("proxy-url")) return invalid(cluster.path("proxy-url"), "not supported");

  auto insecure = cluster.flag("insecure-skip-tls-verify");
  auto ca_file = cluster.file("certificate-authority", directory);
  auto ca_data = cluster.base64("certificate-authority-data");
  auto name = cluster.string("tls-server-name");
  if (!insecure) return std::unexpected(std::move(insecure.error()));
  if (!ca_file) return std::unexpected(std::move(ca_file.error()));
  if (!ca_data) return std::unexpected(std::move(ca_data.error()));
  if (!name) return std::unexpected(std::move(name.error()));
  if (*insecure && (!ca_file->empty() || !ca_data->empty())) {
    return invalid(cluster.path("insecure-skip-tls-verify"), "not together with a certificate authority");
  }
  config.tls.verify = !*insecure;
  config.tls.ca_file = std::move(*ca_file);
  config.tls.ca_data = std::move(*ca_data);
  config.tls.server_name = std::move(*name);
  return {};
}

host::Status read_user(const Section& user, const std::string& directory, Config& config) {
  for (const auto* unsupported : {"exec", "auth-provider", "as", "as-uid", "as-groups", "as-user-extra", "username"}) {
    if (user.has(unsupported)) return invalid(user.path(unsupported), "not supported; use a certificate or a token");
  }
  auto cert_file = user.file("client-certificate", directory);
  auto cert_data = user.base64("client-certificate-data");
  auto key_file = user.file("client-key", directory);
  auto key_data = user.base64("client-key-data");
  auto token = user.string("token");
  auto token_file = user.file("tokenFile", directory);
  for (auto* part : {&cert_file, &cert_data, &key_file, &key_data, &token, &token_file}) {
    if (!*part) return std::unexpected(std::move(part->error()));
  }
  const bool cert = !cert_file->empty() || !cert_data->empty(), key = !key_file->empty() || !key_data->empty();
  if (cert && !key) return invalid(user.path("client-key"), "missing beside the client certificate");
  if (key && !cert) return invalid(user.path("client-certificate"), "missing beside the client key");
  config.tls.cert_file = std::move(*cert_file);
  config.tls.cert_data = std::move(*cert_data);
  config.tls.key_file = std::move(*key_file);
  config.tls.key_data = std::move(*key_data);
  config.token = std::move(*token);
  config.token_file = std::move(*token_file);
  return {};
}

}  // namespace

host::Result<Config> parse_kubeconfig(std::string_view text, const std::string& directory, const std::string& context) {
  api::Tree tree;
  std::vector<const Value*> documents;
  if (!api::is_utf8(text)) return host::fail(host::Error::Code::invalid, "not a text");
  if (auto read = api::read_yaml(text, tree, 1, documents); !read) {
    return host::fail(host::Error::Code::invalid, fmt::format("line {}: {}", read.error().line, read.error().message));
  }
  if (documents.size() != 1 || documents[0]->kind != Value::Kind::object) {
    return host::fail(host::Error::Code::invalid, "not a kubeconfig: one YAML object is expected");
  }
  const auto& root = *documents[0];
  if (const auto kind = root.string("kind"); kind != "Config") {
    return invalid("kind", fmt::format("\"{}\" is not \"Config\"", kind));
  }
  const std::string name = context.empty() ? std::string(root.string("current-context")) : context;
  if (name.empty()) return invalid("current-context", "missing, and no context was asked for");
  auto chosen = named(root, "contexts", "context", name, context.empty() ? "current-context" : "the context asked for");
  if (!chosen) return std::unexpected(std::move(chosen.error()));

  auto cluster_name = chosen->string("cluster");
  auto user_name = chosen->string("user");
  auto namespace_ = chosen->string("namespace");
  for (auto* part : {&cluster_name, &user_name, &namespace_}) {
    if (!*part) return std::unexpected(std::move(part->error()));
  }
  auto cluster = named(root, "clusters", "cluster", *cluster_name, chosen->path("cluster"));
  if (!cluster) return std::unexpected(std::move(cluster.error()));
  Config config;
  if (!namespace_->empty()) config.namespace_ = std::move(*namespace_);
  if (auto read = read_cluster(*cluster, directory, config); !read) return std::unexpected(std::move(read.error()));
  if (user_name->empty()) return config;  // anonymous
  auto user = named(root, "users", "user", *user_name, chosen->path("user"));
  if (!user) return std::unexpected(std::move(user.error()));
  if (auto read = read_user(*user, directory, config); !read) return std::unexpected(std::move(read.error()));
  return config;
}

host::Result<Config> load_kubeconfig(const std::string& path, const std::string& context) {
  auto text = host::read_file(path, 4u << 20);
  if (!text) return std::unexpected(std::move(text.error()));
  auto config = parse_kubeconfig(*text, host::Path(path).parent_path().string(), context);
  if (!config) return std::unexpected(std::move(config.error()).within(path));
  return config;
}

}  // namespace keelson::apiclient
