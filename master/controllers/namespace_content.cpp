#include "master/controllers/namespace_content.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "api/tree.h"

namespace keelson::controllers {

namespace {

std::string counts(const std::map<std::string, int64_t>& items, const char* format_word) {
  std::vector<std::string> parts;
  parts.reserve(items.size());
  for (const auto& [name, count] : items)
    parts.push_back(fmt::format("{} {} {} resource instances", name, format_word, count));
  return fmt::format("{}", fmt::join(parts, ", "));
}

}  // namespace

std::vector<api::NamespaceCondition> namespace_conditions(const api::Namespace& space, const NamespaceContent& content,
                                                          int64_t now) {
  std::vector<api::NamespaceCondition> conditions = space.status.conditions;
  const auto set = [&](const char* type, bool status, const char* reason, std::string message) {
    api::NamespaceCondition condition{.type = type,
                                      .status = status ? "True" : "False",
                                      .last_transition_time = api::Time{now},
                                      .reason = reason,
                                      .message = std::move(message)};
    const auto found =
        std::find_if(conditions.begin(), conditions.end(), [&](const auto& known) { return known.type == type; });
    if (found == conditions.end()) {
      conditions.push_back(std::move(condition));
      return;
    }
    if (found->status == condition.status) condition.last_transition_time = found->last_transition_time;
    *found = std::move(condition);
  };
  set("NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered", "All resources successfully discovered");
  set("NamespaceDeletionGroupVersionParsingFailure", false, "ParsedGroupVersions",
      "All legacy kube types successfully parsed");
  if (content.failures.empty()) {
    set("NamespaceDeletionContentFailure", false, "ContentDeleted",
        "All content successfully deleted, may be waiting on finalization");
  } else {
    set("NamespaceDeletionContentFailure", true, "ContentDeletionFailed",
        fmt::format("Failed to delete all resource types, {} remaining: {}", content.failures.size(),
                    fmt::join(content.failures, ", ")));
  }
  if (content.remaining.empty()) {
    set("NamespaceContentRemaining", false, "ContentRemoved", "All content successfully removed");
  } else {
    set("NamespaceContentRemaining", true, "SomeResourcesRemain",
        "Some resources are remaining: " + counts(content.remaining, "has"));
  }
  if (content.finalizers.empty()) {
    set("NamespaceFinalizersRemaining", false, "ContentHasNoFinalizers", "All content-preserving finalizers finished");
  } else {
    set("NamespaceFinalizersRemaining", true, "SomeFinalizersRemain",
        "Some content in the namespace has finalizers remaining: " + counts(content.finalizers, "in"));
  }
  return conditions;
}

std::string namespace_conditions_patch(const std::vector<api::NamespaceCondition>& conditions) {
  std::string items;
  for (const api::NamespaceCondition& condition : conditions) {
    items += fmt::format(
        R"({}{{"type":{},"status":{},"lastTransitionTime":{},"reason":{},"message":{}}})", items.empty() ? "" : ",",
        api::json_string(condition.type), api::json_string(condition.status),
        condition.last_transition_time ? api::json_string(api::to_string(*condition.last_transition_time)) : "null",
        api::json_string(condition.reason), api::json_string(condition.message));
  }
  return fmt::format(R"({{"status":{{"conditions":[{}]}}}})", items);
}

}  // namespace keelson::controllers
