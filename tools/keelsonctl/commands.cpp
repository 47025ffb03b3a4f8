#include "tools/keelsonctl/commands.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <ctime>

#include "agent/network/names.h"
#include "agent/options.h"
#include "api/codec.h"
#include "host/ip.h"
#include "http/message.h"
#include "tools/keelsonctl/check_manifest.h"
#include "tools/keelsonctl/doctor.h"
#include "tools/keelsonctl/summary.h"
#include "tools/keelsonctl/terminal.h"

namespace keelson::ctl {

namespace {

int64_t now() { return std::time(nullptr); }

int print(const host::Result<std::string>& text) {
  if (!text) return say(text.error());
  write_all(STDOUT_FILENO, *text);
  return 0;
}

host::Result<std::string> ask(const AgentOptions& options, const std::string& path) {
  auto agent = AgentClient::create(options);
  if (!agent) return std::unexpected(std::move(agent.error()));
  return agent->get(path);
}

bool is_table(Format format) { return format == Format::table || format == Format::wide; }

template <typename T>
std::string list_json(const std::vector<T>& objects) {
  return api::encode_json_list(objects);
}

// "ns/name" → {ns, name}; "name" keeps the namespace given.
void split_name(std::string& namespace_, std::string& name) {
  const auto slash = name.find('/');
  if (slash == std::string::npos) return;
  // kubectl's "pod/name" means a kind.
  const auto first = name.substr(0, slash);
  if (first != "pod" && first != "pods") namespace_ = first;
  name = name.substr(slash + 1);
}

std::string name_of(const Scope& scope) { return scope.namespace_.empty() ? "default" : scope.namespace_; }

// Leaves what is in scope; how many there are outside.
template <typename T>
size_t keep(const Scope& scope, std::vector<T>& objects) {
  if (scope.all) return 0;
  const auto name = name_of(scope);
  return std::erase_if(objects, [&](const auto& one) { return one.metadata.namespace_ != name; });
}

void say_none(const Scope& scope, size_t outside) {
  if (scope.all) {
    fmt::print(stderr, "No resources found\n");
  } else if (outside == 0) {
    fmt::print(stderr, "No resources found in {} namespace.\n", name_of(scope));
  } else {
    fmt::print(stderr, "No resources found in {} namespace; other namespaces have {} (-A shows them).\n",
               name_of(scope), outside);
  }
}

// A Pod is named within one namespace: kubectl's words.
int refuse_all() {
  fmt::print(stderr, "keelsonctl: a resource cannot be retrieved by name across all namespaces\n");
  return 2;
}

std::string plural_of(const std::string& kind) {
  if (kind == "Endpoints") return "endpoints";
  std::string plural = kind + "s";
  std::ranges::transform(plural, plural.begin(), [](unsigned char c) { return std::tolower(c); });
  return plural;
}

}  // namespace

host::Result<int64_t> parse_since(const std::string& text) {
  const auto bad = [&] {
    return host::fail(host::Error::Code::invalid, fmt::format("--since {}: 90s, 10m, 1h30m or 2d is expected", text));
  };
  int64_t total = 0;
  const char* at = text.data();
  const char* const end = at + text.size();
  if (at == end) return bad();
  while (at != end) {
    int64_t number = 0;
    const auto [stopped, error] = std::from_chars(at, end, number);
    if (error != std::errc() || stopped == end || number < 0 || number > 1'000'000'000) return bad();
    switch (*stopped) {
      case 's':
        total += number;
        break;
      case 'm':
        total += number * 60;
        break;
      case 'h':
        total += number * 3600;
        break;
      case 'd':
        total += number * 86400;
        break;
      default:
        return bad();
    }
    at = stopped + 1;
  }
  return total;
}

int show_pods(const AgentOptions& options, const Scope& scope, const std::vector<std::string>& names, Format format) {
  const auto json = ask(options, "/pods");
  if (!json) return say(json.error());
  auto pods = decode_pods(*json);
  if (!pods) return say(pods.error());
  const size_t outside = keep(scope, *pods);
  int code = 0;
  for (const auto& name : names) {
    if (std::ranges::none_of(*pods, [&](const auto& pod) { return pod.metadata.name == name; })) {
      code = say({.message = fmt::format("pods \"{}\" not found", name)});
    }
  }
  if (!names.empty()) {
    std::erase_if(*pods, [&](const auto& pod) { return std::ranges::find(names, pod.metadata.name) == names.end(); });
  }
  std::ranges::sort(*pods, {}, [](const auto& pod) { return std::pair(pod.metadata.namespace_, pod.metadata.name); });
  if (!is_table(format)) {
    const bool one = names.size() == 1 && pods->size() == 1;
    return print(render(one ? api::encode_json(pods->front()) : list_json(*pods), format)) != 0 ? 1 : code;
  }
  if (pods->empty()) {
    if (names.empty()) say_none(scope, outside);
    return code;
  }
  print(pod_table(*pods, scope.all, format == Format::wide, now()));
  return code;
}

int show_services(const AgentOptions& options, const Scope& scope, Format format) {
  const auto json = ask(options, "/services");
  if (!json) return say(json.error());
  auto services = decode_services(*json);
  if (!services) return say(services.error());
  const size_t outside = keep(scope, *services);
  std::ranges::sort(*services, {},
                    [](const auto& one) { return std::pair(one.metadata.namespace_, one.metadata.name); });
  if (!is_table(format)) return print(render(list_json(*services), format));
  if (services->empty()) {
    say_none(scope, outside);
    return 0;
  }
  return print(service_table(*services, scope.all, format == Format::wide, now()));
}

int show_backends(const AgentOptions& options, const Scope& scope, Format format) {
  auto json = ask(options, "/backends");
  if (!json) return say(json.error());
  if (!scope.all) json = keep_services_of(name_of(scope), *json);
  if (!json) return say(json.error());
  return print(is_table(format) ? backend_table(*json, format == Format::wide) : render(*json, format));
}

int show_flows(const AgentOptions& options, const Scope& scope, bool follow, Format format) {
  auto agent = AgentClient::create(options);
  if (!agent) return say(agent.error());
  if (is_table(format)) print(flow_headings());
  std::string partial;
  const auto streamed = agent->stream(follow ? "/flows?follow=true" : "/flows", [&](std::string_view text) {
    partial += text;
    for (size_t end; (end = partial.find('\n')) != std::string::npos; partial.erase(0, end + 1)) {
      const auto line = partial.substr(0, end);
      if (!scope.namespace_.empty() && !scope.all && !is_of_namespace(scope.namespace_, line)) continue;
      if (format == Format::json) {
        write_all(STDOUT_FILENO, line + "\n");
      } else if (format == Format::yaml) {
        const auto yaml = render(line, format);
        if (yaml) write_all(STDOUT_FILENO, "---\n" + *yaml);
      } else {
        write_all(STDOUT_FILENO, flow_row(line));
      }
    }
  });
  return streamed ? 0 : say(streamed.error());
}

int show_status(const AgentOptions& options, Format format) {
  const auto json = ask(options, "/status");
  if (!json) return say(json.error());
  return print(is_table(format) ? status_text(*json, format == Format::wide, now()) : render(*json, format));
}

int show_logs(const AgentOptions& options, const Scope& scope, const LogRequest& request) {
  if (scope.all) return refuse_all();
  std::string namespace_ = name_of(scope), pod = request.pod, container = request.container;
  split_name(namespace_, pod);
  auto agent = AgentClient::create(options);
  if (!agent) return say(agent.error());
  if (container.empty()) {
    const auto json =
        agent->get(fmt::format("/pods/{}/{}", http::percent_encode(namespace_), http::percent_encode(pod)));
    if (!json) return say(json.error());
    const auto object = api::decode_json<api::Pod>(*json);
    if (!object) return say(object.error());
    container = default_container(*object);
  }
  std::string path = fmt::format("/containerLogs/{}/{}/{}?", http::percent_encode(namespace_),
                                 http::percent_encode(pod), http::percent_encode(container));
  if (request.follow) path += "follow=true&";
  if (request.previous) path += "previous=true&";
  if (request.timestamps) path += "timestamps=true&";
  if (request.tail.value_or(-1) >= 0) path += fmt::format("tailLines={}&", *request.tail);
  if (!request.since.empty()) {
    const auto seconds = parse_since(request.since);
    if (!seconds) {
      say(seconds.error());
      return 2;
    }
    path += fmt::format("sinceSeconds={}&", *seconds);
  }
  path.pop_back();
  const auto streamed = agent->stream(path, [](std::string_view text) { write_all(STDOUT_FILENO, text); });
  return streamed ? 0 : say(streamed.error());
}

int run_exec(const AgentOptions& options, const Scope& scope, ExecRequest request) {
  if (scope.all) return refuse_all();
  request.namespace_ = name_of(scope);
  split_name(request.namespace_, request.pod);
  auto agent = AgentClient::create(options);
  if (!agent) return say(agent.error());
  // Asked first, because a refused handshake cannot say why.
  const auto json = agent->get(
      fmt::format("/pods/{}/{}", http::percent_encode(request.namespace_), http::percent_encode(request.pod)));
  if (!json) return say(json.error());
  const auto pod = api::decode_json<api::Pod>(*json);
  if (!pod) return say(pod.error());
  if (request.container.empty()) request.container = default_container(*pod);
  const auto named = [&](const auto& status) { return status.name == request.container; };
  const auto& main = pod->status.container_statuses;
  const auto& init = pod->status.init_container_statuses;
  auto status = std::ranges::find_if(main, named);
  if (status == main.end()) status = std::ranges::find_if(init, named);
  if (status == init.end()) {
    return say({.message = fmt::format("container {} is not in pod {}", request.container, request.pod)});
  }
  if (!status->state.running) {
    return say({.message = fmt::format("container {} of pod {} is not running ({})", request.container, request.pod,
                                       summarize(*pod, now()).status)});
  }
  const auto code = agent->exec(request);
  return code ? *code : say(code.error());
}

int drain(const AgentOptions& options) {
  auto agent = AgentClient::create(options);
  if (!agent) return say(agent.error());
  const auto drained = agent->send("POST", "/drain", "");
  if (!drained) return say(drained.error());
  fmt::print("drained: every pod has ended; the sources are ignored until the agent is started again\n");
  return 0;
}

namespace {

// For each object of the files: `act` names what was done, or fails.
template <typename Act>
int for_each_object(const Scope& scope, const std::vector<std::string>& paths, Act act) {
  int code = 0;
  for (const auto& path : paths) {
    const auto files = manifest_files(path);
    if (!files) return say(files.error());
    for (const auto& file : *files) {
      const auto text = read_manifest(file);
      if (!text) return say(text.error());
      auto manifest = api::decode_manifest(*text);
      for (auto problem : manifest.problems) {
        problem.origin.document = file;
        fmt::print(stderr, "{}\n", describe(problem));
        code = 1;
      }
      if (manifest.objects.empty() && manifest.problems.empty()) {
        code = say({.message = fmt::format("{}: it holds no object", file)});
      }
      for (auto& decoded : manifest.objects) {
        auto& namespace_ = api::metadata_of(decoded.object).namespace_;
        if (namespace_.empty()) namespace_ = name_of(scope);
        const auto key = api::key_of(decoded.object);
        if (!scope.namespace_.empty() && namespace_ != scope.namespace_) {
          code = say({.message = fmt::format("{}:{}: {} is of another namespace than -n {}", file, decoded.line,
                                             to_string(key), scope.namespace_)});
          continue;
        }
        const host::Result<std::string> done = act(decoded.object, key);
        if (done) {
          fmt::print("{} {}\n", to_string(key), *done);
        } else {
          code = say(done.error().within(fmt::format("{}:{}", file, decoded.line)));
        }
      }
    }
  }
  return code;
}

std::string path_of(const api::ObjectKey& key) {
  return fmt::format("/{}/{}/{}", plural_of(key.kind), http::percent_encode(key.namespace_),
                     http::percent_encode(key.name));
}

}  // namespace

int apply(const AgentOptions& options, const Scope& scope, const std::vector<std::string>& paths) {
  auto agent = AgentClient::create(options);
  if (!agent) return say(agent.error());
  return for_each_object(scope, paths,
                         [&](const api::Object& object, const api::ObjectKey& key) -> host::Result<std::string> {
                           const auto sent = agent->send("PUT", path_of(key), api::encode_json(object));
                           if (!sent) return std::unexpected(sent.error());
                           return "applied";
                         });
}

int remove(const AgentOptions& options, const Scope& scope, const std::vector<std::string>& paths) {
  auto agent = AgentClient::create(options);
  if (!agent) return say(agent.error());
  return for_each_object(scope, paths, [&](const api::Object&, const api::ObjectKey& key) -> host::Result<std::string> {
    const auto sent = agent->send("DELETE", path_of(key), "");
    if (!sent) return std::unexpected(sent.error());
    return "deleted";
  });
}

int validate(const std::vector<std::string>& paths, bool quiet) {
  int code = 0;
  for (const auto& path : paths) {
    const auto files = manifest_files(path);
    if (!files) {
      code = say(files.error());
      continue;
    }
    for (const auto& file : *files) {
      const auto text = read_manifest(file);
      if (!text) {
        code = say(text.error());
        continue;
      }
      const auto report = check_manifest(file == "-" ? "stdin" : file, *text);
      for (const auto& problem : report.problems) {
        if (problem.severity == api::Problem::Severity::error || !quiet) fmt::print("{}\n", describe(problem));
      }
      if (!quiet) {
        for (const auto& name : report.valid) fmt::print("{}: {}: valid\n", file == "-" ? "stdin" : file, name);
      }
      if (report.has_errors()) code = 1;
    }
  }
  return code;
}

int run_doctor(const Given& given, const std::vector<std::string>& agent_flags, Format format) {
  std::vector<const char*> argv = {"keelsonctl doctor"};
  for (const auto& flag : agent_flags) argv.push_back(flag.c_str());
  const auto agent = agent::parse_command_line(static_cast<int>(argv.size()), argv.data());
  if (agent.exit_code) return *agent.exit_code;
  DoctorOptions how;
  how.network.instance = network::instance_of(agent.options.run_dir);
  const auto& pod_cidr = agent.options.pod_cidr;
  for (const auto& [text, into] :
       {std::pair(pod_cidr.empty() ? std::string(agent::kDefaultPodCidr) : pod_cidr, &how.network.pod_cidrs),
        std::pair(agent.options.service_cidr, &how.network.service_cidrs)}) {
    auto cidrs = host::parse_cidrs(text);
    if (!cidrs) return say(cidrs.error());
    *into = std::move(*cidrs);
  }
  // Where the agent is expected is where its port must be free.
  const auto expected = agent_of(agent.options, given);
  auto probes = HostProbes::live();
  if (const auto url = http::parse_url(expected.url)) {
    how.listen_address = url->host == "localhost" ? "127.0.0.1" : url->host;
    how.listen_port = static_cast<uint16_t>(std::stoi(url->port));
    if (url->tls) {
      probes.agent_answers = [&expected](const std::string&, uint16_t) {
        auto client = AgentClient::create(expected);
        const auto metrics =
            client ? client->get("/metrics") : host::Result<std::string>(std::unexpected(client.error()));
        return metrics && metrics->find("keelson_") != std::string::npos;
      };
    }
  }
  const auto checks = examine(how, probes);
  const int printed = print(is_table(format) ? report(checks) : render(report_json(checks), format));
  return printed != 0 || any_failed(checks) ? 1 : 0;
}

}  // namespace keelson::ctl
