// Requests, limits and the references to them.
#include <fmt/core.h>

#include <algorithm>
#include <array>

#include "api/syntax.h"
#include "api/validate_parts.h"

namespace keelson::api {

namespace {

bool is_huge_pages(std::string_view name) { return name.starts_with("hugepages-"); }

bool is_standard(std::string_view name) {
  return name == "cpu" || name == "memory" || name == "ephemeral-storage" || is_huge_pages(name);
}

// Extended resources are counted in whole units.
bool is_extended(std::string_view name) { return name.find('/') != std::string_view::npos; }

bool exceeds(const Quantity& a, const Quantity& b) {
  if (a.value() != b.value()) return a.value() > b.value();
  return a.milli_value() > b.milli_value();
}

void validate_resource(const std::string& name, const Quantity& quantity, const std::string& path, Findings& findings) {
  const std::string here = entry(path, name);
  const auto complaints = syntax::qualified_name(name);
  findings.invalid(here, name, complaints);
  if (complaints.empty() && !is_extended(name) && !is_standard(name)) {
    findings.invalid(here, name, "must be a standard resource for containers");
  }
  // A struct built in code may hold anything; what was decoded is a quantity.
  if (const auto parsed = parse_quantity(quantity.text); !parsed) {
    findings.invalid(here, quantity.text, parsed.error().message);
    return;
  }
  if (quantity.text.starts_with('-') && quantity.milli_value() < 0) {
    findings.invalid(here, quantity.text, "must be greater than or equal to 0");
  }
  if (is_extended(name) && quantity.milli_value() % 1000 != 0) {
    findings.invalid(here, quantity.text, "must be an integer");
  }
}

}  // namespace

void validate_resources(const ResourceRequirements& resources, const std::string& path, Findings& findings) {
  const std::string requests = path + ".requests";
  for (const auto& [name, limit] : resources.limits) validate_resource(name, limit, path + ".limits", findings);
  for (const auto& [name, request] : resources.requests) {
    validate_resource(name, request, requests, findings);
    const auto limit = resources.limits.find(name);
    const bool fixed = is_extended(name) || is_huge_pages(name);
    if (limit == resources.limits.end()) {
      if (fixed) findings.required(path + ".limits", "Limit must be set for non overcommitable resources");
    } else if (fixed && (exceeds(request, limit->second) || exceeds(limit->second, request))) {
      findings.invalid(requests, request.text,
                       fmt::format("must be equal to {} limit of {}", name, limit->second.text));
    } else if (exceeds(request, limit->second)) {
      findings.invalid(requests, request.text,
                       fmt::format("must be less than or equal to {} limit of {}", name, limit->second.text));
    }
  }
}

void validate_resource_field_ref(const ResourceFieldSelector& reference, bool needs_container, const std::string& path,
                                 Findings& findings) {
  static constexpr std::array<std::string_view, 6> kResources = {
      "limits.cpu",   "limits.ephemeral-storage",   "limits.memory",
      "requests.cpu", "requests.ephemeral-storage", "requests.memory"};
  if (needs_container && reference.container_name.empty()) findings.required(path + ".containerName");
  if (reference.resource.empty()) {
    findings.required(path + ".resource");
    return;
  }
  const std::string_view name = std::string_view(reference.resource).substr(reference.resource.find('.') + 1);
  if (std::find(kResources.begin(), kResources.end(), reference.resource) == kResources.end() && !is_huge_pages(name)) {
    findings.unsupported(path + ".resource", reference.resource, kResources);
    return;
  }
  if (!reference.divisor || reference.divisor->milli_value() == 0) return;
  static constexpr std::array<std::string_view, 2> kCpu = {"1m", "1"};
  static constexpr std::array<std::string_view, 13> kBytes = {"1",   "1k",  "1M",  "1G",  "1T",  "1P", "1E",
                                                              "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei"};
  const auto is_divisor = [&](std::string_view text) {
    return Quantity{std::string(text)}.milli_value() == reference.divisor->milli_value();
  };
  if (name == "cpu" && !std::any_of(kCpu.begin(), kCpu.end(), is_divisor)) {
    findings.invalid(path + ".divisor", reference.divisor->text,
                     "only divisor's values 1m and 1 are supported with the cpu resource");
  } else if (name != "cpu" && !std::any_of(kBytes.begin(), kBytes.end(), is_divisor)) {
    findings.invalid(path + ".divisor", reference.divisor->text,
                     fmt::format("only divisor's values 1, 1k, 1M, 1G, 1T, 1P, 1E, 1Ki, 1Mi, 1Gi, 1Ti, 1Pi, 1Ei are "
                                 "supported with the {} resource",
                                 name));
  }
}

}  // namespace keelson::api
