// keelsonctl: the node's own tool. Here is only its command line; see commands.h.
#include <CLI/CLI.hpp>
#include <csignal>
#include <functional>
#include <iostream>
#include <limits>

#include "host/log.h"
#include "tools/keelsonctl/commands.h"
#include "tools/keelsonctl/terminal.h"
#include "tools/keelsonctl/this_agent.h"

#ifndef KEELSON_VERSION
#define KEELSON_VERSION "unknown"
#endif

namespace ctl = keelson::ctl;

namespace {

// A verb, and what it does once the command line has been read.
struct Verbs {
  CLI::App& app;
  std::function<int()> chosen;

  CLI::App* add(CLI::App& parent, const std::string& name, const std::string& description, std::function<int()> run) {
    auto* verb = parent.add_subcommand(name, description);
    verb->callback([this, run = std::move(run)] { chosen = run; });
    return verb;
  }
};

}  // namespace

int main(int argc, char** argv) {
  keelson::host::set_log_level(keelson::host::LogLevel::warning);
  std::signal(SIGPIPE, SIG_IGN);  // `keelsonctl logs web | head` ends without a word

  CLI::App app{
      "keelsonctl looks into, and works on, a node that runs Pods and Services by keelson-agent.\n"
      "validate, doctor and images work without an agent.\n"};
  app.set_version_flag("--version", "keelsonctl " KEELSON_VERSION);
  app.require_subcommand(1);
  app.fallthrough();
  app.get_formatter()->column_width(34);

  ctl::AgentOptions agent;  // once the command line has been read
  ctl::Given given;
  std::string config = keelson::agent::Options().config;
  const auto* config_option =
      app.add_option("--config", config, "The agent's configuration file; \"\" for none")->capture_default_str();
  app.add_option("--agent", given.url, "The agent's address, http(s)://host:port [as the configuration has it]");
  app.add_option("--root-dir", given.root_dir, "The agent's data: api.token, images [as the configuration has it]");
  app.add_option("--cacert", given.ca_file, "The CA of the agent's certificate (PEM)");
  app.add_option("--cert", given.cert_file, "A client certificate (PEM), instead of the token");
  app.add_option("--key", given.key_file, "Its key (PEM)");

  std::string format_name;
  ctl::Format format = ctl::Format::table;
  const auto with_format = [&](CLI::App* verb) {
    verb->add_option("-o,--output", format_name, "json, yaml or wide")->check(CLI::IsMember({"json", "yaml", "wide"}));
    return verb;
  };
  // As kubectl has them: before or after any verb.
  ctl::Scope scope;
  app.add_option("-n,--namespace", scope.namespace_, "Namespace (default)");
  app.add_flag("-A,--all-namespaces", scope.all, "All namespaces");
  Verbs verbs{.app = app, .chosen = {}};

  std::vector<std::string> names;
  auto* pods =
      verbs.add(app, "pods", "List the node's Pods", [&] { return ctl::show_pods(agent, scope, names, format); });
  with_format(pods)->add_option("name", names, "Only these");

  ctl::LogRequest logs;
  auto* logs_verb =
      verbs.add(app, "logs", "Print a container's log", [&] { return ctl::show_logs(agent, scope, logs); });
  logs_verb->add_option("pod", logs.pod, "[namespace/]name")->required();
  logs_verb->add_option("-c,--container", logs.container, "Container (the first one)");
  logs_verb->add_flag("-f,--follow", logs.follow, "Go on until the container ends");
  logs_verb->add_flag("-p,--previous", logs.previous, "Of the start before the latest one");
  logs_verb->add_flag("--timestamps", logs.timestamps, "A time before each line");
  logs_verb->add_option("--tail", logs.tail, "The last N lines only; -1 for all")
      ->check(CLI::Range(int64_t{-1}, std::numeric_limits<int64_t>::max()));
  logs_verb->add_option("--since", logs.since, "Not older than this, as in 90s, 10m, 1h30m");

  ctl::ExecRequest exec;
  auto* exec_verb = verbs.add(app, "exec", "Run a command in a container: exec [-it] pod [-c name] -- command…", [&] {
    if (exec.tty) ctl::block_terminal_signals();  // before the first thread
    return ctl::run_exec(agent, scope, exec);
  });
  exec_verb->add_option("pod", exec.pod, "[namespace/]name")->required();
  exec_verb->add_option("command", exec.command, "The command, after --")->required();
  exec_verb->add_option("-c,--container", exec.container, "Container (the first one)");
  exec_verb->add_flag("-i,--stdin", exec.use_stdin, "Pass our stdin on");
  exec_verb->add_flag("-t,--tty", exec.tty, "Give it a terminal");

  auto* images = app.add_subcommand("images", "Work on the node's images (without a verb: list them)");
  with_format(images)->require_subcommand(0, 1);
  images->callback([&] {
    if (!verbs.chosen) verbs.chosen = [&] { return ctl::list_images(agent, format); };
  });
  with_format(verbs.add(*images, "list", "List them", [&] { return ctl::list_images(agent, format); }));
  std::string file, image_name;
  auto* import = verbs.add(*images, "import", "Import an OCI or docker archive, or an OCI layout directory",
                           [&] { return ctl::import_image(agent, file, image_name); });
  import->add_option("file", file, "A file or directory; - is stdin")->required();
  import->add_option("--name", image_name, "Its name, instead of the archive's");
  std::string reference, registry_ca;
  std::vector<std::string> insecure;
  auto* pull = verbs.add(*images, "pull", "Pull from a registry",
                         [&] { return ctl::pull_image(agent, reference, insecure, registry_ca); });
  pull->add_option("reference", reference, "As in nginx:1.25, registry:5000/a/b@sha256:…")->required();
  pull->add_option("--insecure-registry", insecure,
                   "host[:port] that may be asked by plain HTTP; may repeat [as the configuration has it]");
  pull->add_option("--registry-ca-file", registry_ca,
                   "CA of the registry (PEM), beside the system's [as the configuration has it]");
  bool force = false;
  auto* prune =
      verbs.add(*images, "prune", "Remove all that no Pod uses", [&] { return ctl::prune_images(agent, force); });
  prune->add_flag("--force", force, "Without asking the agent what is in use");
  auto* remove = verbs.add(*images, "remove", "Remove images by name or id",
                           [&] { return ctl::remove_images(agent, names, force); });
  remove->add_option("reference", names, "Names or ids")->required();
  remove->add_flag("--force", force, "Without asking the agent what is in use");

  with_format(verbs.add(app, "services", "List Services and their addresses",
                        [&] { return ctl::show_services(agent, scope, format); }));
  with_format(verbs.add(app, "backends", "List who is behind each Service port",
                        [&] { return ctl::show_backends(agent, scope, format); }));
  bool follow = false;
  auto* flows = with_format(verbs.add(app, "flows", "Show sampled decisions of the load balancer",
                                      [&] { return ctl::show_flows(agent, scope, follow, format); }));
  flows->add_flag("-f,--follow", follow, "Go on as they happen");
  with_format(verbs.add(app, "status", "Show the node: sources, problems, counts",
                        [&] { return ctl::show_status(agent, format); }));

  bool quiet = false;
  auto* validate = verbs.add(app, "validate", "Say what is wrong with manifests, offline",
                             [&] { return ctl::validate(names, quiet); });
  validate->add_option("file", names, "Files or directories; - is stdin")->required();
  validate->add_flag("-q,--quiet", quiet, "Errors only");
  auto* apply = verbs.add(app, "apply", "Push the objects of manifests to the agent",
                          [&] { return ctl::apply(agent, scope, names); });
  apply->add_option("-f,--filename,file", names, "Files or directories; - is stdin")->required();
  auto* erase = verbs.add(app, "delete", "Take back the objects of manifests that were pushed",
                          [&] { return ctl::remove(agent, scope, names); });
  erase->add_option("-f,--filename,file", names, "Files or directories; - is stdin")->required();
  verbs.add(app, "drain", "Stop all Pods and remove every trace of them but the images; returns when done",
            [&] { return ctl::drain(agent); });
  std::vector<std::string> agent_flags;
  auto* doctor = verbs.add(app, "doctor", "Say what this kernel and host lack, and what to do", [&] {
    if (config_option->count() > 0) agent_flags.insert(agent_flags.begin(), {"--config", config});
    return ctl::run_doctor(given, agent_flags, format);
  });
  with_format(doctor)->add_option("flags", agent_flags,
                                  "keelson-agent's, after --, when they are not in its configuration file");

  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    // CLI11 would only miss a command, and not say which word was none.
    if (const auto left = app.remaining(); error.get_name() == "RequiredError" && !left.empty()) {
      std::cerr << "keelsonctl: there is no command \"" << left.front() << "\"; see keelsonctl --help\n";
      return 2;
    }
    return app.exit(error) == 0 ? 0 : 2;
  }
  // validate is about files alone, and doctor reads the configuration with the flags that it is given.
  if (!validate->parsed() && !doctor->parsed()) {
    const auto options = ctl::read_configuration(config, config_option->count() > 0);
    if (!options) {
      ctl::say(options.error());
      return 2;
    }
    agent = ctl::agent_of(*options, given);
    if (insecure.empty()) insecure = options->insecure_registries;
    if (registry_ca.empty()) registry_ca = options->registry_ca_file;
  }
  if (const auto parsed = ctl::parse_format(format_name)) format = *parsed;
  return verbs.chosen();
}
