#include "agent/network/allocations.h"

#include <fmt/core.h>
#include <rapidjson/document.h>
#include <rapidjson/stringbuffer.h>
#include <rapidjson/writer.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>

#include "host/log.h"
#include "host/run_file.h"

namespace keelson::network {
namespace {

constexpr size_t kLargestFile = 4096;

std::optional<Allocation> parse(const std::string& text, const std::string& boot_id) {
  rapidjson::Document document;
  document.Parse(text.data(), text.size());
  if (document.HasParseError() || !document.IsObject()) return std::nullopt;
  const auto string_at = [&](const char* name) -> std::string {
    const auto found = document.FindMember(name);
    return found != document.MemberEnd() && found->value.IsString() ? found->value.GetString() : "";
  };
  if (string_at("bootId") != boot_id) return std::nullopt;
  Allocation allocation;
  allocation.uid = string_at("uid");
  if (const auto at = document.FindMember("allocatedAt"); at != document.MemberEnd() && at->value.IsInt64())
    allocation.allocated_at_us = at->value.GetInt64();
  const auto ips = document.FindMember("ips");
  if (ips == document.MemberEnd() || !ips->value.IsArray()) return std::nullopt;
  for (const auto& ip : ips->value.GetArray()) {
    auto address = api::IpAddress::parse(ip.IsString() ? ip.GetString() : "");
    if (!address) return std::nullopt;
    allocation.ips.push_back(*address);
  }
  if (allocation.uid.empty() || allocation.ips.empty()) return std::nullopt;
  return allocation;
}

}  // namespace

bool usable_uid(const std::string& uid) {
  const auto fine = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
           c == '.';
  };
  return !uid.empty() && uid.size() <= 200 && uid.front() != '.' && std::ranges::all_of(uid, fine);
}

AllocationFiles::AllocationFiles(host::Path directory, std::string boot_id)
    : directory_(std::move(directory)), boot_id_(std::move(boot_id)) {}

host::Result<std::vector<Allocation>> AllocationFiles::load() const {
  auto names = host::list_directory(directory_);
  if (!names) {
    if (names.error().code == host::Error::Code::not_found) return std::vector<Allocation>();
    return std::unexpected(std::move(names.error()));
  }
  std::vector<Allocation> allocations;
  for (const auto& name : *names) {
    if (!name.ends_with(".json")) continue;
    const auto uid = name.substr(0, name.size() - 5);
    auto text = host::read_file(directory_ / name, kLargestFile);
    auto allocation = text ? parse(*text, boot_id_) : std::nullopt;
    if (allocation && allocation->uid == uid && usable_uid(uid)) {
      allocations.push_back(std::move(*allocation));
      continue;
    }
    // Of an earlier boot is the ordinary case; anything else deserves a line.
    if (text && text->find("\"bootId\"") == text->npos)
      host::log_warning("network: {} is no allocation, removing it", (directory_ / name).native());
    if (unlink((directory_ / name).c_str()) != 0 && errno != ENOENT)
      return host::sys_fail(fmt::format("remove {}", (directory_ / name).native()));
  }
  std::ranges::sort(allocations, {}, &Allocation::allocated_at_us);
  return allocations;
}

host::Status AllocationFiles::save(const Allocation& allocation) const {
  rapidjson::StringBuffer text;
  rapidjson::Writer writer(text);
  writer.StartObject();
  writer.Key("bootId");
  writer.String(boot_id_.c_str());
  writer.Key("uid");
  writer.String(allocation.uid.c_str());
  writer.Key("ips");
  writer.StartArray();
  for (const auto& ip : allocation.ips) writer.String(ip.to_string().c_str());
  writer.EndArray();
  writer.Key("allocatedAt");
  writer.Int64(allocation.allocated_at_us);
  writer.EndObject();
  return host::write_run_file(path(allocation.uid), {text.GetString(), text.GetSize()}, 0600);
}

host::Status AllocationFiles::remove(const std::string& uid) const {
  if (unlink(path(uid).c_str()) != 0 && errno != ENOENT)
    return host::sys_fail(fmt::format("remove {}", path(uid).native()));
  return {};
}

}  // namespace keelson::network
