#pragma once
// What is left of a namespace that goes away, and what its conditions say of it. Pure.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "api/namespace.h"

namespace keelson::controllers {

struct NamespaceContent {
  std::map<std::string, int64_t> remaining;   // by "pods.", "leases.coordination.k8s.io"
  std::map<std::string, int64_t> finalizers;  // of what remains: how many objects have it
  std::vector<std::string> failures;          // deletions that the server refused
  bool empty() const { return remaining.empty() && failures.empty(); }
};

// Kubernetes' five, in its words; times of those that stand as they did are kept.
std::vector<api::NamespaceCondition> namespace_conditions(const api::Namespace& space, const NamespaceContent& content,
                                                          int64_t now);
// As merge patch of the status.
std::string namespace_conditions_patch(const std::vector<api::NamespaceCondition>& conditions);

}  // namespace keelson::controllers
