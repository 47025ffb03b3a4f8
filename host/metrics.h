#pragma once
// What /metrics shows: counters, gauges and histograms with labels, in Prometheus'
// text format 0.0.4 (prometheus.io/docs/instrumenting/exposition_formats).
//
//   Counter& starts = metrics.counter("keelson_container_starts_total", "Containers started.");
//   starts.add();
//
// main owns the one Metrics and hands it to the rooms; a room asks once for its
// series and keeps the references, which live as long as the registry or until
// forget(). Registration, forget() and render() belong to the loop's thread; add(),
// set() and observe() to any.

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace keelson::host {

class Counter {
 public:
  void add(uint64_t n = 1) { value_.fetch_add(n, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_ = 0;
};

class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double n) { value_.fetch_add(n, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_ = 0;
};

class Histogram {
 public:
  explicit Histogram(std::vector<double> bounds);
  void observe(double value);
  const std::vector<double>& bounds() const { return bounds_; }
  uint64_t bucket(size_t index) const { return buckets_[index].load(std::memory_order_relaxed); }
  double sum() const { return sum_.load(std::memory_order_relaxed); }

 private:
  std::vector<double> bounds_;                  // upper, ascending; +Inf is implied
  std::vector<std::atomic<uint64_t>> buckets_;  // one more than bounds; not cumulative
  std::atomic<double> sum_ = 0;
};

// In the order to be shown. Values may hold anything; they are escaped.
using Labels = std::vector<std::pair<std::string, std::string>>;

class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // The series of that name and those labels, made at the first call. The help of the
  // first call stands for all; a name has one type only (asserted). A family holds at
  // most 10,000 series: past that all share one that is not shown.
  Counter& counter(const std::string& name, const std::string& help, const Labels& labels = {});
  Gauge& gauge(const std::string& name, const std::string& help, const Labels& labels = {});
  // Seconds, from 1 ms to 100 s, when no bounds are given.
  Histogram& histogram(const std::string& name, const std::string& help, const Labels& labels = {},
                       std::vector<double> bounds = {});

  // Drops the series; references to it are dead. An unknown one is fine.
  void forget(const std::string& name, const Labels& labels);
  // Drops every series of the name: for gauges that a refresh sets anew.
  void forget(const std::string& name);

  // Called before each rendering, to set gauges that are cheaper to look up than to keep.
  void on_render(std::function<void()> refresh);
  std::string render();

 private:
  struct Family;
  Family& family(const std::string& name, const std::string& help, const char* type);
  std::map<std::string, std::unique_ptr<Family>> families_;
  std::vector<std::function<void()>> refreshers_;
};

}  // namespace keelson::host
