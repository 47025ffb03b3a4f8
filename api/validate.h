#pragma once
// Kubernetes' defaults and its validation, in its words.

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "api/object.h"

namespace keelson::api {

// Fills what Kubernetes' API server would: namespace "default", restartPolicy,
// dnsPolicy, imagePullPolicy, probe periods, protocol, targetPort, qosClass …
// Idempotent.
void set_defaults(Object& object);

struct FieldError {
  std::string field;    // "spec.containers[0].ports[1].containerPort"
  std::string message;  // "Invalid value: 70000: must be between 1 and 65535, inclusive"
};

// Empty when valid. Expects defaults to be set.
std::vector<FieldError> validate(const Object& object);

// Fields that are set and valid, but that this node does not act on yet: by path,
// with what happens instead. Never empty for a field that would silently be dropped.
std::vector<FieldError> not_acted_on(const Object& object);

// The Pod Security Standards (kubernetes.io/docs/concepts/security/pod-security-standards).
enum class SecurityLevel { privileged, baseline, restricted };
host::Result<SecurityLevel> parse_security_level(std::string_view text);
// What the level forbids in this pod; empty when it is allowed.
std::vector<FieldError> violations(const Pod& pod, SecurityLevel level);

// Selectors: equality-based (Service) and set-based. An empty one matches all
// labels; that a Service without a selector selects nothing is its caller's to know.
bool matches(const std::map<std::string, std::string>& selector, const std::map<std::string, std::string>& labels);
bool matches(const LabelSelector& selector, const std::map<std::string, std::string>& labels);

// "Guaranteed", "Burstable" or "BestEffort".
std::string qos_class(const Pod& pod);

}  // namespace keelson::api
