#include "master/options.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <tuple>

#include "flags/flags.h"

namespace keelson::master {

namespace {

#ifndef KEELSON_VERSION
#define KEELSON_VERSION "unknown"
#endif

constexpr const char* kAbout =
    "keelson-master speaks the Kubernetes API over etcd, schedules Pods onto nodes and runs\n"
    "the controllers. By default it does all of it by itself, with an etcd and certificates\n"
    "of its own; kubectl finds its way with <data-dir>/admin.kubeconfig.";

constexpr std::string_view kComponents[] = {"apiserver", "scheduler", "controllers"};

// Flags that are words on the command line and something else in Options.
struct Texts {
  std::string event_ttl = "1h";
  std::string node_monitor_grace_period = "40s";
  std::string pod_eviction_timeout;
  std::string leader_elect = "true";
};

void declare(CLI::App& app, Options& o, Texts& texts) {
  const auto text = [&app](const char* name, std::string& into, const char* help) {
    app.add_option(name, into, help)->capture_default_str()->take_last();
  };
  text("--components", o.components, "which of apiserver, scheduler, controllers run here");
  text("--data-dir", o.data_dir, "etcd's data, certificates and admin.kubeconfig");
  text("--listen", o.listen, "address:port of the API");
  text("--advertise-address", o.advertise_address, "where Pods and nodes reach it [the default route's source]");
  app.add_option("--tls-san", o.tls_sans, "further name or address in its certificate; may repeat")->delimiter(',');
  text("--tls-cert-file", o.tls_cert_file, "its certificate [one that the cluster's own authority signs]");
  text("--tls-private-key-file", o.tls_private_key_file, "its key");
  text("--client-ca-file", o.client_ca_file, "authority of client certificates, beside the cluster's own");
  text("--token-auth-file", o.token_auth_file, "bearer tokens: token,user,uid,\"group1,group2\" on each line");
  text("--service-cluster-ip-range", o.service_cluster_ip_range, "addresses of Services");
  text("--service-node-port-range", o.service_node_port_range, "ports of NodePort Services");
  text("--event-ttl", texts.event_ttl, "how long Events are kept");
  app.add_option("--etcd-servers", o.etcd_servers, "etcd endpoints, https://host:port [an etcd of its own]")
      ->delimiter(',');
  text("--etcd-cafile", o.etcd_cafile, "CA of the etcd servers");
  text("--etcd-certfile", o.etcd_certfile, "client certificate for etcd");
  text("--etcd-keyfile", o.etcd_keyfile, "its key");
  text("--etcd-program", o.etcd_program, "the program of the etcd of its own");
  text("--etcd-quota", o.etcd_quota, "how large its database may become");
  text("--kubeconfig", o.kubeconfig, "how scheduler and controllers reach an API server that runs elsewhere");
  text("--cluster-cidr", o.cluster_cidr, "addresses of Pods, of which each node gets a part");
  app.add_option("--node-cidr-mask-size-ipv4", o.node_cidr_mask_size_ipv4, "size of that part")
      ->capture_default_str()
      ->check(CLI::Range(8, 32))
      ->take_last();
  app.add_option("--node-cidr-mask-size-ipv6", o.node_cidr_mask_size_ipv6, "the same of IPv6")
      ->capture_default_str()
      ->check(CLI::Range(8, 128))
      ->take_last();
  text("--node-monitor-grace-period", texts.node_monitor_grace_period,
       "how long a node may be silent before it is not ready");
  text("--pod-eviction-timeout", texts.pod_eviction_timeout,
       "and then, before its Pods are replaced elsewhere [as they tolerate it: 5m]");
  app.add_option("--terminated-pod-gc-threshold", o.terminated_pod_gc_threshold,
                 "how many finished Pods may stay; 0: all may")
      ->capture_default_str()
      ->check(CLI::NonNegativeNumber)
      ->take_last();
  app.add_option("--leader-elect", texts.leader_elect, "of several schedulers and controllers one acts")
      ->capture_default_str()
      ->check(CLI::IsMember({"true", "false"}))
      ->expected(0, 1)
      ->default_str("true")
      ->take_last();
  text("--config", o.config, "configuration file with the same names; \"\" for none");
  text("-v,--v", o.log_level, "log level: debug, info, warning, error");
  app.set_version_flag("--version", "keelson-master " KEELSON_VERSION);
}

void declare(CLI::App& command, KubeconfigCommand& k, int& days) {
  auto* node = command.add_option("--node", k.node, "for the agent of this node");
  auto* user = command.add_option("--user", k.user, "for this user")->excludes(node);
  command.add_option("--group", k.groups, "group of the user (system:masters may do everything); may repeat")
      ->delimiter(',')
      ->needs(user);
  command.add_option("--server", k.server, "URL of the API [https://<advertise-address>:<port>]");
  command.add_option("--days", days, "how long the certificate is good for")
      ->capture_default_str()
      ->check(CLI::Range(1, 3650));
}

host::Status check(const Options& options, const Texts& texts, Options& into) {
  const auto invalid = [](std::string message) { return host::fail(host::Error::Code::invalid, std::move(message)); };
  const auto components = flags::split_list(options.components);
  if (components.empty()) return invalid("--components: none is left to run");
  for (const auto& component : components) {
    if (std::ranges::find(kComponents, component) == std::end(kComponents)) {
      return invalid(fmt::format("--components: \"{}\" is none of apiserver, scheduler, controllers", component));
    }
  }
  for (const auto& [name, text, duration] :
       {std::tuple{"--event-ttl", &texts.event_ttl, &into.event_ttl},
        std::tuple{"--node-monitor-grace-period", &texts.node_monitor_grace_period, &into.node_monitor_grace_period}}) {
    auto parsed = flags::parse_duration(*text);
    if (!parsed) return std::unexpected(std::move(parsed.error()).within(name));
    *duration = *parsed;
  }
  if (!texts.pod_eviction_timeout.empty()) {
    auto parsed = flags::parse_duration(texts.pod_eviction_timeout);
    if (!parsed) return std::unexpected(std::move(parsed.error()).within("--pod-eviction-timeout"));
    into.pod_eviction_timeout = *parsed;
  }
  into.leader_elect = texts.leader_elect != "false";
  if (options.tls_cert_file.empty() != options.tls_private_key_file.empty()) {
    return invalid("--tls-cert-file and --tls-private-key-file go together");
  }
  if (options.etcd_certfile.empty() != options.etcd_keyfile.empty()) {
    return invalid("--etcd-certfile and --etcd-keyfile go together");
  }
  if (!options.runs("apiserver") && options.kubeconfig.empty()) {
    return invalid("without the component apiserver --kubeconfig must say where one is");
  }
  return {};
}

}  // namespace

bool Options::runs(std::string_view component) const {
  const auto all = flags::split_list(components);
  return std::ranges::find(all, component) != all.end();
}

CommandLine parse_command_line(int argc, const char* const* argv) {
  CommandLine result;
  Options& options = result.options;
  Texts texts;
  CLI::App app(kAbout, "keelson-master");
  declare(app, options, texts);
  KubeconfigCommand kubeconfig;
  int days = 365;
  CLI::App* command = app.add_subcommand("kubeconfig", "print a kubeconfig with a fresh client certificate");
  command->fallthrough();
  declare(*command, kubeconfig, days);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    const bool asked_for_text = error.get_exit_code() == 0;
    app.exit(error);
    result.exit_code = asked_for_text ? 0 : 2;
    return result;
  }
  const auto refuse = [&result](const std::string& message) {
    fmt::print(stderr, "keelson-master: {}\n", message);
    result.exit_code = 2;
  };
  if (auto applied = flags::apply_file(app, options.config, app.get_option("--config")->count() > 0); !applied) {
    refuse(applied.error().message);
    return result;
  }
  if (auto checked = check(options, texts, options); !checked) {
    refuse(checked.error().message);
    return result;
  }
  if (command->parsed()) {
    if (kubeconfig.node.empty() == kubeconfig.user.empty()) {
      refuse("kubeconfig: one of --node and --user says for whom");
      return result;
    }
    kubeconfig.lifetime = std::chrono::hours(24 * days);
    result.kubeconfig = std::move(kubeconfig);
  }
  return result;
}

}  // namespace keelson::master
