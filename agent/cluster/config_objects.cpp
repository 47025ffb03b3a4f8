#include "agent/cluster/config_objects.h"

namespace keelson::cluster {
namespace {

using namespace std::chrono_literals;

constexpr size_t kWatchedAtMost = 24;
constexpr auto kAskAgain = 30s;
constexpr auto kAskAgainAfterFailure = 2s;

const api::Resource& resource_of(const ConfigRef& reference) {
  return reference.secret ? api::resource_of<api::Secret>() : api::resource_of<api::ConfigMap>();
}

// What the API server keeps for itself changes with every write of anybody's.
ConfigObjects::Text text_of(api::AnyObject object) {
  object.metadata().managed_fields.clear();
  object.metadata().resource_version.clear();
  return std::make_shared<const std::string>(api::encode_json(object));
}

}  // namespace

void ConfigObjects::want(const std::set<ConfigRef>& references) {
  std::erase_if(entries_, [&](auto& entry) {
    if (references.contains(entry.first)) return false;
    if (entry.second.watch) --watched_;
    return true;
  });
  for (const auto& reference : references) {
    const auto [at, fresh] = entries_.try_emplace(reference);
    if (!fresh) continue;
    if (watched_ < kWatchedAtMost) {
      ++watched_;
      watch(reference, at->second);
    } else {
      ask(reference);
    }
  }
}

void ConfigObjects::watch(const ConfigRef& reference, Entry& entry) {
  apiclient::ReflectorOptions options;
  options.namespace_ = reference.namespace_;
  options.field_selector = "metadata.name=" + reference.name;
  entry.watch = std::make_unique<apiclient::AnyReflector>(
      client_, resource_of(reference), std::move(options),
      apiclient::AnyReflectorHandlers{
          .synced =
              [this, reference](const apiclient::ObjectSet& set) {
                take(reference, set.empty() ? nullptr : set.begin()->second.get());
              },
          .changed = [this, reference](const apiclient::ObjectPtr&,
                                       const apiclient::ObjectPtr& now) { take(reference, now.get()); },
          .deleted = [this, reference](const apiclient::ObjectPtr&) { take(reference, nullptr); },
          .failed =
              [this, reference](const apiclient::Failure& failure) {
                // Refused for good as far as we can tell: its Pod shall say so, not wait in silence.
                auto& entry = entries_.at(reference);
                if (!failure.denied() || entry.settled) return;
                entry.settled = true;
                changed_();
              }});
}

void ConfigObjects::ask(const ConfigRef& reference) {
  auto& entry = entries_.at(reference);
  entry.call = client_.get(resource_of(reference), reference.namespace_, reference.name,
                           [this, reference](apiclient::Outcome<api::AnyObject> outcome) {
                             auto& entry = entries_.at(reference);
                             const bool answered = outcome || outcome.error().not_found();
                             entry.timer = client_.loop().after(
                                 answered ? host::Duration(kAskAgain) : host::Duration(kAskAgainAfterFailure),
                                 [this, reference] { ask(reference); });
                             if (answered) return take(reference, outcome ? &*outcome : nullptr);
                             if (!outcome.error().denied() || entry.settled) return;
                             entry.settled = true;
                             changed_();
                           });
}

void ConfigObjects::take(const ConfigRef& reference, const api::AnyObject* object) {
  auto& entry = entries_.at(reference);
  auto text = object == nullptr ? nullptr : text_of(*object);
  const bool same = text && entry.text ? *text == *entry.text : text == entry.text;
  if (same && entry.settled) return;
  entry.settled = true;
  if (!same) entry.text = std::move(text);
  changed_();
}

std::map<ConfigRef, ConfigObjects::Text> ConfigObjects::texts() const {
  std::map<ConfigRef, Text> result;
  for (const auto& [reference, entry] : entries_) {
    if (entry.text) result.emplace(reference, entry.text);
  }
  return result;
}

bool ConfigObjects::settled(const ConfigRef& reference) const {
  const auto found = entries_.find(reference);
  return found != entries_.end() && found->second.settled;
}

}  // namespace keelson::cluster
