#include "agent/runtime/pod_files.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <unistd.h>

#include <algorithm>

#include "agent/runtime/shim/protocol.h"

namespace keelson::runtime {

namespace {

constexpr size_t kMaxRecord = 16u << 20;
constexpr size_t kMaxJournal = 64u << 20;

using Json = rapidjson::Value;

const Json* member(const Json& object, const char* name) {
  if (!object.IsObject()) return nullptr;
  const auto found = object.FindMember(name);
  return found == object.MemberEnd() ? nullptr : &found->value;
}
void read(const Json& object, const char* name, std::string& to) {
  if (const Json* value = member(object, name); value && value->IsString()) {
    to.assign(value->GetString(), value->GetStringLength());
  }
}
void read(const Json& object, const char* name, bool& to) {
  if (const Json* value = member(object, name); value && value->IsBool()) to = value->GetBool();
}
void read(const Json& object, const char* name, int64_t& to) {
  if (const Json* value = member(object, name); value && value->IsInt64()) to = value->GetInt64();
}

}  // namespace

std::string encode_record(const PodRecord& record) {
  const api::SandboxSpec& spec = record.spec;
  rapidjson::StringBuffer buffer;
  rapidjson::Writer<rapidjson::StringBuffer> out(buffer);
  const auto text = [&out](const char* name, const std::string& value) {
    out.Key(name);
    out.String(value.data(), static_cast<rapidjson::SizeType>(value.size()));
  };
  const auto flag = [&out](const char* name, bool value) {
    out.Key(name);
    out.Bool(value);
  };
  const auto number = [&out](const char* name, int64_t value) {
    out.Key(name);
    out.Int64(value);
  };
  out.StartObject();
  text("uid", spec.uid);
  text("namespace", spec.namespace_);
  text("name", spec.name);
  text("qosClass", spec.qos);
  text("hostname", spec.hostname);
  flag("hostNetwork", spec.host_network);
  flag("hostPID", spec.host_pid);
  flag("hostIPC", spec.host_ipc);
  flag("shareProcessNamespace", spec.share_process_namespace);
  out.Key("sysctls");
  out.StartObject();
  for (const auto& [name, value] : spec.sysctls) text(name.c_str(), value);
  out.EndObject();
  out.Key("limits");
  out.StartObject();
  number("cpuRequestMilli", spec.limits.cpu_request_milli);
  number("cpuLimitMilli", spec.limits.cpu_limit_milli);
  number("memoryLimitBytes", spec.limits.memory_limit_bytes);
  number("memoryRequestBytes", spec.limits.memory_request_bytes);
  number("pidsLimit", spec.limits.pids_limit);
  out.EndObject();
  text("manifest", spec.manifest);
  if (record.shim) {
    out.Key("shim");
    out.StartObject();
    number("pid", record.shim->process.pid);
    number("startTime", static_cast<int64_t>(record.shim->process.start_time));
    text("bootId", record.shim->boot_id);
    out.EndObject();
  }
  out.EndObject();
  return {buffer.GetString(), buffer.GetSize()};
}

host::Result<PodRecord> decode_record(std::string_view text) {
  rapidjson::Document document;
  document.Parse<rapidjson::kParseIterativeFlag>(text.data(), text.size());
  if (document.HasParseError() || !document.IsObject()) {
    return host::fail(host::Error::Code::invalid, "spec.json: is not a JSON object");
  }
  PodRecord record;
  api::SandboxSpec& spec = record.spec;
  read(document, "uid", spec.uid);
  read(document, "namespace", spec.namespace_);
  read(document, "name", spec.name);
  read(document, "qosClass", spec.qos);
  read(document, "hostname", spec.hostname);
  read(document, "hostNetwork", spec.host_network);
  read(document, "hostPID", spec.host_pid);
  read(document, "hostIPC", spec.host_ipc);
  read(document, "shareProcessNamespace", spec.share_process_namespace);
  if (const Json* sysctls = member(document, "sysctls"); sysctls && sysctls->IsObject()) {
    for (const auto& entry : sysctls->GetObject()) {
      if (entry.value.IsString()) spec.sysctls[entry.name.GetString()] = entry.value.GetString();
    }
  }
  if (const Json* limits = member(document, "limits")) {
    read(*limits, "cpuRequestMilli", spec.limits.cpu_request_milli);
    read(*limits, "cpuLimitMilli", spec.limits.cpu_limit_milli);
    read(*limits, "memoryLimitBytes", spec.limits.memory_limit_bytes);
    read(*limits, "memoryRequestBytes", spec.limits.memory_request_bytes);
    read(*limits, "pidsLimit", spec.limits.pids_limit);
  }
  read(document, "manifest", spec.manifest);
  if (spec.uid.empty()) return host::fail(host::Error::Code::invalid, "spec.json: no uid");
  if (const Json* shim = member(document, "shim")) {
    ShimIdentity identity;
    int64_t pid = 0;
    int64_t start_time = 0;
    read(*shim, "pid", pid);
    read(*shim, "startTime", start_time);
    read(*shim, "bootId", identity.boot_id);
    identity.process = {static_cast<pid_t>(pid), static_cast<uint64_t>(start_time)};
    if (pid > 0) record.shim = identity;
  }
  return record;
}

JournalContent decode_journal(const std::string& pod_uid, std::string_view data) {
  JournalContent content;
  shim::JournalEntry entry;
  while (const size_t length = shim::read_journal(data.data(), data.size(), content.sound_size, entry)) {
    content.sound_size += length;
    auto state = std::ranges::find_if(content.containers, [&](const auto& one) { return one.id.name == entry.name; });
    if (state == content.containers.end()) {
      state = content.containers.insert(state, JournalState{.id = {pod_uid, std::string(entry.name), 0}});
    }
    if (entry.kind == shim::JournalEntry::kStarted) {
      state->id.attempt = entry.attempt;
      state->process = {entry.pid, entry.start_time};
      state->boot_id = entry.boot_id;
      state->started_at_us = entry.started_at_us;
      continue;
    }
    api::ExitRecord record{.id = {pod_uid, std::string(entry.name), entry.attempt},
                           .wait_status = entry.wait_status,
                           .oom_killed = entry.oom_killed,
                           .started_at_us = entry.started_at_us,
                           .finished_at_us = entry.finished_at_us};
    (entry.kind == shim::JournalEntry::kFailed ? record.start_error : record.termination_message) = entry.text;
    if (state->exits.size() == 2) state->exits.erase(state->exits.begin());
    state->exits.push_back(std::move(record));
  }
  return content;
}

host::Result<JournalContent> read_journal_file(const PodPaths& paths, const std::string& pod_uid, bool cut) {
  auto text = host::read_file(paths.journal(), kMaxJournal);
  if (!text) {
    if (text.error().code == host::Error::Code::not_found) return JournalContent();
    return std::unexpected(text.error());
  }
  JournalContent content = decode_journal(pod_uid, *text);
  if (cut && content.sound_size < text->size() &&
      ::truncate(paths.journal().c_str(), static_cast<off_t>(content.sound_size)) != 0) {
    return host::sys_fail("cut the torn end of " + paths.journal().string());
  }
  return content;
}

}  // namespace keelson::runtime
