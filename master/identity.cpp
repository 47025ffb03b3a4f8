#include "master/identity.h"

#include <fmt/core.h>
#include <sys/utsname.h>

#include "host/ip.h"
#include "host/log.h"
#include "master/pki/kubeconfig.h"

namespace keelson::master {

using host::Result;

namespace {

pki::Subject api_server(const Options& options, const Setup& setup) {
  pki::Subject subject{.common_name = "kube-apiserver",
                       .dns_names = {"kubernetes", "kubernetes.default", "kubernetes.default.svc",
                                     "kubernetes.default.svc.cluster.local", "localhost"},
                       .addresses = {"127.0.0.1", "::1", setup.service_ip.to_string()},
                       .server = true};
  utsname host{};
  if (::uname(&host) == 0) subject.dns_names.emplace_back(host.nodename);
  for (const auto& address : setup.own_addresses) subject.addresses.push_back(address.to_string());
  for (const auto& name : options.tls_sans) {
    (host::IpAddress::parse(name) ? subject.addresses : subject.dns_names).push_back(name);
  }
  return subject;
}

const pki::Subject kAgentClient = {
    .common_name = "kube-apiserver-kubelet-client", .organizations = {"system:masters"}, .client = true};
const pki::Subject kAdmin = {.common_name = "kubernetes-admin", .organizations = {"system:masters"}, .client = true};

Result<std::string> read_pem(const host::Path& file) { return host::read_file(file, 1U << 20); }

}  // namespace

Result<std::unique_ptr<Identity>> Identity::open(const Options& options, const Setup& setup, pki::Time now) {
  auto authority = pki::Authority::open_or_create(setup.pki_dir(), now);
  if (!authority) return std::unexpected(authority.error());
  return std::unique_ptr<Identity>(new Identity(options, setup, std::move(*authority)));
}

Result<bool> Identity::renew(pki::Time now) {
  bool changed = false;
  const auto ensure = [&](std::string_view name, const pki::Subject& subject) {
    auto ensured = authority_->ensure(name, subject, now);
    if (ensured && ensured->renewed) {
      host::log_info("certificate {} made anew ({}), good until {}", ensured->certificate_file.string(), ensured->why,
                     ensured->not_after);
    }
    return ensured;
  };
  if (options_.tls_cert_file.empty()) {
    auto server = ensure("apiserver", api_server(options_, setup_));
    if (!server) return std::unexpected(server.error());
    changed |= server->renewed;
    server_files_.cert_file = server->certificate_file;
    server_files_.key_file = server->key_file;
  } else {
    server_files_.cert_file = options_.tls_cert_file;
    server_files_.key_file = options_.tls_private_key_file;
  }
  server_files_.client_ca_file = authority_->certificate_file();
  if (!options_.client_ca_file.empty()) {
    auto other = read_pem(options_.client_ca_file);
    if (!other) return std::unexpected(std::move(other.error()).within("--client-ca-file"));
    const host::Path bundle = setup_.pki_dir() / "client-ca.crt";
    if (auto written = host::write_file_atomically(bundle, authority_->certificate() + *other, 0644); !written) {
      return std::unexpected(written.error());
    }
    server_files_.client_ca_file = bundle;
  }

  auto agent_client = ensure("apiserver-kubelet-client", kAgentClient);
  if (!agent_client) return std::unexpected(agent_client.error());
  agent_client_cert_ = agent_client->certificate_file;
  agent_client_key_ = agent_client->key_file;

  auto admin = ensure("admin", kAdmin);
  if (!admin) return std::unexpected(admin.error());
  auto trust = trusted();
  if (!trust) return std::unexpected(trust.error());
  auto certificate = read_pem(admin->certificate_file);
  if (!certificate) return std::unexpected(certificate.error());
  auto key = read_pem(admin->key_file);
  if (!key) return std::unexpected(key.error());
  const std::string text = pki::write_kubeconfig(
      {.server = setup_.server_url(), .authority = *trust, .user = "admin", .credentials = {*certificate, *key}});
  // Only when it says something else, so that whoever watches it is not woken.
  if (auto there = read_pem(setup_.admin_kubeconfig()); !there || *there != text) {
    if (auto written = host::write_file_atomically(setup_.admin_kubeconfig(), text, 0600); !written) {
      return std::unexpected(written.error());
    }
  }
  return changed;
}

Result<std::string> Identity::trusted() const {
  std::string trust = authority_->certificate();
  if (options_.tls_cert_file.empty()) return trust;
  auto other = read_pem(options_.tls_cert_file);
  if (!other) return std::unexpected(std::move(other.error()).within("--tls-cert-file"));
  return trust + *other;
}

http::TlsFiles Identity::server_files() const { return server_files_; }

http::ClientTls Identity::agent_client() const {
  return {.ca_file = authority_->certificate_file(), .cert_file = agent_client_cert_, .key_file = agent_client_key_};
}

http::ClientTls Identity::loopback_client() const {
  // A foreign certificate need not name the loopback; nobody else can answer there while this
  // very process listens.
  return {.verify = options_.tls_cert_file.empty(), .ca_file = authority_->certificate_file()};
}

Result<std::string> Identity::kubeconfig_for(const KubeconfigCommand& command, pki::Time now) const {
  pki::Subject subject{.client = true};
  if (command.node.empty()) {
    subject.common_name = command.user;
    subject.organizations = command.groups;
  } else {
    subject.common_name = fmt::format("system:node:{}", command.node);
    subject.organizations = {"system:nodes"};
    // The agent serves its API with it: the API server asks there for logs, by the node's name.
    subject.dns_names = {command.node};
    subject.server = true;
  }
  auto pair = authority_->issue(subject, now, command.lifetime);
  if (!pair) return std::unexpected(pair.error());
  auto trust = trusted();
  if (!trust) return std::unexpected(trust.error());
  return pki::write_kubeconfig({.server = command.server.empty() ? setup_.server_url() : command.server,
                                .authority = *trust,
                                .user = command.node.empty() ? command.user : subject.common_name,
                                .credentials = *pair});
}

}  // namespace keelson::master
