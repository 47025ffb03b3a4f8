#include "agent/options.h"

#include <fmt/core.h>
#include <yaml-cpp/yaml.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <tuple>

#include "flags/flags.h"

namespace keelson::agent {

namespace {

#ifndef KEELSON_VERSION
#define KEELSON_VERSION "unknown"
#endif

constexpr const char* kAbout =
    "keelson-agent runs Kubernetes Pods and Services on this node.\n"
    "It takes manifests from a directory, a URL, etcd, HTTP push and an API server, starts\n"
    "the Pods itself and load-balances Services with eBPF. See keelson-agent(8), and\n"
    "keelsonctl(1) to look inside.";

// The flags that are not text, as they are written, until all is read.
struct Texts {
  std::string file_frequency = "20s", http_frequency = "20s", status_frequency = "10s", lease_duration = "40s";
  std::string register_node = "true", max_pods = "110";

  host::Status store(Options& options) const {
    for (const auto& [name, text, into] :
         {std::tuple("--file-check-frequency", &file_frequency, &options.file_check_frequency),
          std::tuple("--http-check-frequency", &http_frequency, &options.http_check_frequency),
          std::tuple("--node-status-update-frequency", &status_frequency, &options.node_status_update_frequency),
          std::tuple("--node-lease-duration", &lease_duration, &options.node_lease_duration)}) {
      auto parsed = parse_duration(*text);
      if (!parsed) return std::unexpected(std::move(parsed.error()).within(name));
      *into = *parsed;
    }
    const auto wrong = [](std::string message) { return host::fail(host::Error::Code::invalid, std::move(message)); };
    if (register_node != "true" && register_node != "false") {
      return wrong(fmt::format("--register-node: \"{}\" is neither true nor false", register_node));
    }
    options.register_node = register_node == "true";
    const auto [end, error] = std::from_chars(max_pods.data(), max_pods.data() + max_pods.size(), options.max_pods);
    if (error != std::errc() || end != max_pods.data() + max_pods.size() || options.max_pods < 1) {
      return wrong(fmt::format("--max-pods: \"{}\" is no number of Pods", max_pods));
    }
    if (options.node_lease_duration < std::chrono::seconds(4)) return wrong("--node-lease-duration: at least 4s");
    return {};
  }
};

void declare(CLI::App& app, Options& o, Texts& texts) {
  const auto text = [&app](const char* name, std::string& into, const char* help) {
    app.add_option(name, into, help)->capture_default_str()->take_last();
  };
  text("--pod-manifest-path", o.pod_manifest_path, "file or directory of manifests; \"\" for none");
  text("--file-check-frequency", texts.file_frequency, "how often to read it again (changes act at once by inotify)");
  text("--manifest-url", o.manifest_url, "HTTP(S) URL of manifests");
  app.add_option("--manifest-url-header", o.manifest_url_headers, "header to send to it, \"Name: value\"; may repeat");
  text("--http-check-frequency", texts.http_frequency, "how often to fetch it");
  app.add_option("--etcd-servers", o.etcd_servers, "etcd endpoints, http(s)://host:port or unix:///path")
      ->delimiter(',');
  text("--etcd-prefix", o.etcd_prefix, "prefix of this node's manifests [/registry/hosts/<node name>/]");
  text("--etcd-cafile", o.etcd_cafile, "CA of the etcd servers");
  text("--etcd-certfile", o.etcd_certfile, "client certificate for etcd");
  text("--etcd-keyfile", o.etcd_keyfile, "its key");
  text("--kubeconfig", o.kubeconfig, "joins the cluster whose API server and credentials this file names");
  text("--master", o.master, "URL of the API server, instead of the kubeconfig's");
  text("--master-ca-file", o.master_ca_file, "CA of the API server");
  text("--master-cert-file", o.master_cert_file, "client certificate for it (CN=system:node:NAME, O=system:nodes)");
  text("--master-key-file", o.master_key_file, "its key");
  text("--master-token-file", o.master_token_file, "file with a bearer token for it");
  text("--node-labels", o.node_labels, "labels of the Node object: KEY=VALUE, several with commas");
  text("--register-node", texts.register_node, "create the Node object if there is none");
  text("--node-status-update-frequency", texts.status_frequency, "how often the node is looked at and its status told");
  text("--node-lease-duration", texts.lease_duration,
       "how long the node counts as alive; told anew each quarter of it");
  text("--max-pods", texts.max_pods, "Pods that the node takes in a cluster");
  text("--source-policy", o.source_policy, "what each source may ask for: privileged, baseline or restricted");
  app.add_option("--insecure-registry", o.insecure_registries,
                 "host[:port] of a registry that may be asked by plain HTTP; may repeat");
  text("--registry-ca-file", o.registry_ca_file, "CA of image registries (PEM), beside the system's");
  text("--listen", o.listen,
       "address of the HTTP API; off loopback it needs TLS. In a cluster the master is served on the node's address "
       "too");
  text("--tls-cert-file", o.tls_cert_file, "certificate of the HTTP API");
  text("--tls-private-key-file", o.tls_private_key_file, "its key");
  text("--client-ca-file", o.client_ca_file, "CA whose client certificates may call the HTTP API");
  text("--hostname-override", o.hostname_override, "the node's name [hostname -f]");
  text("--node-ip", o.node_ip, "the node's address, or IPv4,IPv6 [the default route's source]");
  text("--pod-cidr", o.pod_cidr,
       "addresses of Pods; IPv4, IPv6 or both with a comma [10.244.0.0/24; in a cluster the Node's spec.podCIDRs]");
  text("--service-cidr", o.service_cidr, "addresses of Services; IPv4, IPv6 or both with a comma");
  text("--service-node-port-range", o.service_node_port_range, "ports of NodePort Services");
  text("--root-dir", o.root_dir, "data: images, volumes, logs, journals");
  text("--run-dir", o.run_dir, "runtime state, gone after a reboot");
  text("--bpffs", o.bpffs, "where maps, programs and links are pinned");
  text("--cgroup-root", o.cgroup_root, "cgroup v2 directory that Services are load-balanced for [the v2 root]");
  text("--pod-cgroup", o.pod_cgroup, "cgroup v2 directory of the Pods [<cgroup-root>/keelson]");
  text("--config", o.config, "configuration file with the same names; \"\" for none");
  text("-v,--v", o.log_level, "log level: debug, info, warning, error");
  app.set_version_flag("--version", "keelson-agent " KEELSON_VERSION);
}

}  // namespace

CommandLine parse_command_line(int argc, const char* const* argv) {
  CommandLine result;
  Options& options = result.options;
  Texts texts;
  CLI::App app(kAbout, "keelson-agent");
  declare(app, options, texts);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked_for_text = error.get_exit_code() == 0;
    app.exit(error);
    result.exit_code = asked_for_text ? 0 : 2;
    return result;
  }
  const bool file_was_named = app.get_option("--config")->count() > 0;
  auto applied = flags::apply_file(app, options.config, file_was_named);
  if (applied) applied = texts.store(options);
  if (!applied) {
    fmt::print(stderr, "keelson-agent: {}\n", applied.error().message);
    result.exit_code = 2;
  }
  return result;
}

host::Result<Options> read_options(const std::string& config) {
  Options options;
  Texts texts;
  CLI::App app(kAbout, "keelson-agent");
  declare(app, options, texts);
  if (auto applied = flags::apply_file(app, config, true); !applied) return std::unexpected(std::move(applied.error()));
  if (auto stored = texts.store(options); !stored) return std::unexpected(std::move(stored.error()));
  options.config = config;
  return options;
}

std::string configuration_in_force(const Options& options) {
  YAML::Emitter out;
  out << YAML::Comment("What the running keelson-agent goes by; made when it started.") << YAML::BeginMap;
  for (const auto& [name, value] : {std::pair("listen", &options.listen),
                                    {"tls-cert-file", &options.tls_cert_file},
                                    {"root-dir", &options.root_dir},
                                    {"run-dir", &options.run_dir},
                                    {"pod-cidr", &options.pod_cidr},
                                    {"service-cidr", &options.service_cidr},
                                    {"registry-ca-file", &options.registry_ca_file}}) {
    out << YAML::Key << name << YAML::Value << YAML::DoubleQuoted << *value;
  }
  out << YAML::Key << "insecure-registry" << YAML::Value << options.insecure_registries << YAML::EndMap;
  return std::string(out.c_str()) + "\n";
}

}  // namespace keelson::agent
