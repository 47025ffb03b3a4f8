#include "master/apiserver/kind_cache.h"

#include <fmt/core.h>

#include <algorithm>
#include <cassert>

namespace keelson::apiserver {

namespace {

constexpr std::string_view kMetadata = R"("metadata":)";

}  // namespace

const std::string& node_of(const VersionPtr& version) {
  static const std::string kNone;
  const api::Pod* pod = version == nullptr ? nullptr : version->object.get_if<api::Pod>();
  return pod == nullptr ? kNone : pod->spec.node_name;
}

size_t type_meta_length(const api::Resource& resource) {
  static constexpr std::string_view kFrame = R"({"kind":"","apiVersion":"",)";
  return kFrame.size() + resource.kind.size() + resource.api_version.size();
}

std::string_view Version::item() const { return std::string_view(json).substr(type_meta_length(object.resource())); }

std::string_view Version::metadata() const {
  const size_t begin = type_meta_length(object.resource()) + kMetadata.size();
  return metadata_end == 0 ? std::string_view() : std::string_view(json).substr(begin, metadata_end - begin);
}

size_t object_end(std::string_view json, size_t at) {
  const auto is_escaped = [&](size_t quote) {
    size_t backslashes = 0;
    while (backslashes < quote && json[quote - backslashes - 1] == '\\') ++backslashes;
    return backslashes % 2 == 1;
  };
  int depth = 0;
  for (; at < json.size(); ++at) {
    if (json[at] == '{') ++depth;
    if (json[at] == '}' && --depth == 0) return at + 1;
    if (json[at] != '"') continue;
    do {
      at = json.find('"', at + 1);
      if (at == std::string_view::npos) return 0;
    } while (is_escaped(at));
  }
  return 0;
}

std::string with_resource_version(std::string_view value, std::string_view uid, int64_t revision) {
  // What stands before uid in metadata holds no quotes that are not escaped but its own, so the
  // first place that looks like it is it.
  const std::string marker = fmt::format("\"uid\":\"{}\",", uid);
  const size_t at = value.find(marker);
  assert(at != std::string_view::npos);
  const size_t cut = at + marker.size();
  const std::string field = fmt::format("\"resourceVersion\":\"{}\",", revision);
  std::string json;
  json.reserve(value.size() + field.size());
  json += value.substr(0, cut);
  json += field;
  json += value.substr(cut);
  return json;
}

VersionPtr make_version(api::AnyObject object, std::string_view value, int64_t revision, int64_t lease) {
  auto version = std::make_shared<Version>(Version{std::move(object), revision, lease, {}, 0});
  api::ObjectMeta& metadata = version->object.metadata();
  metadata.resource_version = std::to_string(revision);
  version->json =
      metadata.uid.empty() ? api::encode_json(version->object) : with_resource_version(value, metadata.uid, revision);
  const size_t begin = type_meta_length(version->object.resource());
  if (std::string_view(version->json).substr(begin).starts_with(kMetadata)) {
    version->metadata_end = static_cast<uint32_t>(object_end(version->json, begin + kMetadata.size()));
  }
  return version;
}

VersionPtr last_state(const Change& change) {
  const Version& before = *change.previous;
  auto last = std::make_shared<Version>(Version{before.object, change.revision, before.lease, {}, 0});
  last->object.metadata().resource_version = std::to_string(change.revision);
  last->json = api::encode_json(last->object);
  return last;
}

KindCache::KindCache(const api::Resource& resource, Limits limits)
    : resource_(&resource),
      prefix_(resource.group.empty() ? fmt::format("/registry/{}/", resource.plural)
                                     : fmt::format("/registry/{}/{}/", resource.group, resource.plural)),
      limits_(limits) {}

VersionPtr KindCache::find(std::string_view key) const {
  const auto found = objects_.find(key);
  return found == objects_.end() ? nullptr : found->second;
}

const Objects* KindCache::on_node(std::string_view node) const {
  const auto found = by_node_.find(node);
  return found == by_node_.end() ? nullptr : &found->second;
}

void KindCache::index(const std::string& key, const VersionPtr& before, const VersionPtr& after) {
  const std::string& from = node_of(before);
  const std::string& to = node_of(after);
  if (!from.empty() && from != to) {
    const auto found = by_node_.find(from);
    found->second.erase(key);
    if (found->second.empty()) by_node_.erase(found);
  }
  if (!to.empty()) by_node_[to][key] = after;
}

void KindCache::put(std::string key, VersionPtr version) {
  VersionPtr& place = objects_[key];
  VersionPtr previous = std::exchange(place, version);
  index(key, previous, version);
  record({.type = previous == nullptr ? Change::Type::added : Change::Type::modified,
          .revision = version->revision,
          .key = std::move(key),
          .object = std::move(version),
          .previous = std::move(previous)});
}

void KindCache::remove(const std::string& key, int64_t revision) {
  const auto found = objects_.find(key);
  if (found == objects_.end()) return;
  VersionPtr previous = std::move(found->second);
  objects_.erase(found);
  index(key, previous, nullptr);
  record({.type = Change::Type::deleted, .revision = revision, .key = key, .object = previous, .previous = previous});
}

void KindCache::load(Objects objects, int64_t revision) {
  objects_ = std::move(objects);
  by_node_.clear();
  for (const auto& [key, version] : objects_) index(key, nullptr, version);
  history_.clear();
  history_bytes_ = 0;
  history_start_ = last_change_ = revision;
  ++telling_;
  for (size_t i = 0; i < observers_.size(); ++i) {
    if (observers_[i] != nullptr) observers_[i]->reset();
  }
  --telling_;
  std::erase(observers_, nullptr);
}

void KindCache::record(Change change) {
  last_change_ = change.revision;
  history_bytes_ += change.previous == nullptr ? 0 : change.previous->json.size();
  const Change told = change;
  history_.push_back(std::move(change));
  while (history_.size() > limits_.changes || history_bytes_ > limits_.bytes) {
    const Change& oldest = history_.front();
    history_bytes_ -= oldest.previous == nullptr ? 0 : oldest.previous->json.size();
    history_start_ = oldest.revision;
    history_.pop_front();
  }
  // By index: an observer may observe, and forget, while it is told.
  ++telling_;
  for (size_t i = 0; i < observers_.size(); ++i) {
    if (observers_[i] != nullptr) observers_[i]->changed(told);
  }
  if (--telling_ == 0) std::erase(observers_, nullptr);
}

void KindCache::forget(Observer& observer) {
  std::ranges::replace(observers_, &observer, nullptr);
  if (telling_ == 0) std::erase(observers_, nullptr);
}

void KindCache::replay(int64_t after, const std::function<void(const Change&)>& tell) const {
  auto from = std::ranges::upper_bound(history_, after, {}, &Change::revision);
  for (; from != history_.end(); ++from) tell(*from);
}

Objects KindCache::difference(int64_t revision) const {
  Objects then;
  auto from = std::ranges::upper_bound(history_, revision, {}, &Change::revision);
  for (; from != history_.end(); ++from) then.try_emplace(from->key, from->previous);
  return then;
}

}  // namespace keelson::apiserver
