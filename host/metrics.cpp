#include "host/metrics.h"

#include <fmt/format.h>

#include <cassert>
#include <cmath>
#include <cstring>
#include <utility>

namespace keelson::host {

namespace {

constexpr size_t kMaxSeries = 10'000;

std::string number(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

// {a="b",c="d"}, or nothing. `extra` is a last label as it is.
std::string render_labels(const Labels& labels, const std::string& extra = "") {
  std::string out;
  for (const auto& [name, value] : labels) {
    out += out.empty() ? "{" : ",";
    out += name + "=\"";
    append_escaped(out, value, true);
    out += '"';
  }
  if (!extra.empty()) out += (out.empty() ? "{" : ",") + extra;
  if (!out.empty()) out += '}';
  return out;
}

}  // namespace

Histogram::Histogram(std::vector<double> bounds) : bounds_(std::move(bounds)), buckets_(bounds_.size() + 1) {}

void Histogram::observe(double value) {
  size_t index = 0;
  while (index < bounds_.size() && value > bounds_[index]) ++index;
  buckets_[index].fetch_add(1, std::memory_order_relaxed);
  sum_.fetch_add(value, std::memory_order_relaxed);
}

struct Metrics::Family {
  const char* type = "";
  std::string help;
  std::map<Labels, std::unique_ptr<Counter>> counters;
  std::map<Labels, std::unique_ptr<Gauge>> gauges;
  std::map<Labels, std::unique_ptr<Histogram>> histograms;
  Counter surplus_counter;
  Gauge surplus_gauge;
  std::unique_ptr<Histogram> surplus_histogram;
};

Metrics::Metrics() = default;
Metrics::~Metrics() = default;

Metrics::Family& Metrics::family(const std::string& name, const std::string& help, const char* type) {
  auto& entry = families_[name];
  if (!entry) {
    entry = std::make_unique<Family>();
    entry->type = type;
    entry->help = help;
  }
  assert(std::strcmp(entry->type, type) == 0);
  return *entry;
}

Counter& Metrics::counter(const std::string& name, const std::string& help, const Labels& labels) {
  auto& of = family(name, help, "counter");
  const auto found = of.counters.find(labels);
  if (found != of.counters.end()) return *found->second;
  if (of.counters.size() >= kMaxSeries) return of.surplus_counter;
  return *(of.counters[labels] = std::make_unique<Counter>());
}

Gauge& Metrics::gauge(const std::string& name, const std::string& help, const Labels& labels) {
  auto& of = family(name, help, "gauge");
  const auto found = of.gauges.find(labels);
  if (found != of.gauges.end()) return *found->second;
  if (of.gauges.size() >= kMaxSeries) return of.surplus_gauge;
  return *(of.gauges[labels] = std::make_unique<Gauge>());
}

Histogram& Metrics::histogram(const std::string& name, const std::string& help, const Labels& labels,
                              std::vector<double> bounds) {
  if (bounds.empty()) {
    bounds = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 25, 50, 100};
  }
  auto& of = family(name, help, "histogram");
  const auto found = of.histograms.find(labels);
  if (found != of.histograms.end()) return *found->second;
  if (of.histograms.size() >= kMaxSeries) {
    if (!of.surplus_histogram) of.surplus_histogram = std::make_unique<Histogram>(std::move(bounds));
    return *of.surplus_histogram;
  }
  return *(of.histograms[labels] = std::make_unique<Histogram>(std::move(bounds)));
}

void Metrics::forget(const std::string& name, const Labels& labels) {
  const auto found = families_.find(name);
  if (found == families_.end()) return;
  found->second->counters.erase(labels);
  found->second->gauges.erase(labels);
  found->second->histograms.erase(labels);
}

void Metrics::forget(const std::string& name) {
  const auto found = families_.find(name);
  if (found == families_.end()) return;
  found->second->counters.clear();
  found->second->gauges.clear();
  found->second->histograms.clear();
}

void Metrics::on_render(std::function<void()> refresh) { refreshers_.push_back(std::move(refresh)); }

std::string Metrics::render() {
  for (const auto& refresh : refreshers_) refresh();
  std::string out;
  for (const auto& [name, of] : families_) {
    if (of->counters.empty() && of->gauges.empty() && of->histograms.empty()) continue;
    out += fmt::format("# HELP {} ", name);
    append_escaped(out, of->help, false);
    out += fmt::format("\n# TYPE {} {}\n", name, of->type);
    for (const auto& [labels, counter] : of->counters) {
      out += fmt::format("{}{} {}\n", name, render_labels(labels), counter->value());
    }
    for (const auto& [labels, gauge] : of->gauges) {
      out += fmt::format("{}{} {}\n", name, render_labels(labels), number(gauge->value()));
    }
    for (const auto& [labels, histogram] : of->histograms) {
      uint64_t count = 0;
      for (size_t i = 0; i <= histogram->bounds().size(); ++i) {
        count += histogram->bucket(i);
        const auto bound = i < histogram->bounds().size() ? number(histogram->bounds()[i]) : "+Inf";
        out += fmt::format("{}_bucket{} {}\n", name, render_labels(labels, fmt::format("le=\"{}\"", bound)), count);
      }
      out += fmt::format("{}_sum{} {}\n", name, render_labels(labels), number(histogram->sum()));
      out += fmt::format("{}_count{} {}\n", name, render_labels(labels), count);
    }
  }
  return out;
}

}  // namespace keelson::host
