#include "agent/pods/probes.h"

#include <algorithm>
#include <chrono>
#include <utility>

namespace keelson::pods {

using std::chrono::seconds;

Prober::Prober(Scheduler& scheduler, Checks& checks, const api::Container& spec, Target target, Verdict verdict,
               Failure failure)
    : scheduler_(scheduler),
      checks_(checks),
      ports_(spec.ports),
      target_(std::move(target)),
      created_(scheduler.now().steady),
      verdict_(std::move(verdict)),
      failure_(std::move(failure)) {
  auto add = [&](ProbeKind kind, const api::Box<api::Probe>& probe) {
    if (probe) lines_.push_back({.kind = kind, .probe = *probe, .verdict = {}, .timer = nullptr});
  };
  if (!target_.started) add(ProbeKind::startup, spec.startup_probe);
  add(ProbeKind::liveness, spec.liveness_probe);
  add(ProbeKind::readiness, spec.readiness_probe);
  bool gated = find(ProbeKind::startup) != nullptr;
  for (auto& line : lines_) {
    if (line.kind == ProbeKind::liveness) line.verdict = true;
    if (line.kind == ProbeKind::readiness) line.verdict = target_.adopted;
    if (!gated || line.kind == ProbeKind::startup) start(line);
  }
}

Prober::Line* Prober::find(ProbeKind kind) {
  auto found = std::ranges::find(lines_, kind, &Line::kind);
  return found == lines_.end() ? nullptr : &*found;
}

void Prober::start(Line& line) {
  auto age = target_.age + (scheduler_.now().steady - created_);
  Duration wait = seconds(line.probe.initial_delay_seconds.value_or(0)) - age;
  if (target_.adopted) {
    // All containers of the node come at once: spread them.
    auto spread = std::chrono::duration<double>(
        scheduler_.random() * std::min(1.0, static_cast<double>(line.probe.period_seconds.value_or(10))));
    wait = std::max(wait, Duration::zero()) + std::chrono::duration_cast<Duration>(spread);
  }
  auto index = static_cast<size_t>(&line - lines_.data());
  line.timer = scheduler_.after(std::max(wait, Duration::zero()), [this, index] { ask(index); });
}

void Prober::ask(size_t index) {
  auto& line = lines_[index];
  Check check{.container = target_.container,
              .handler = line.probe.handler,
              .address = target_.address,
              .ports = ports_,
              .timeout = seconds(std::max(1, line.probe.timeout_seconds.value_or(1)))};
  checks_.run(std::move(check),
              [this, index, asked = scheduler_.now().steady, alive = std::weak_ptr<bool>(alive_)](CheckResult result) {
                if (!alive.expired()) answered(index, asked, result);
              });
}

void Prober::answered(size_t index, TimePoint asked, const CheckResult& result) {
  auto& line = lines_[index];
  if (!line.timer) return;  // no longer asked
  bool decides = target_.adopted && !line.answered && line.kind == ProbeKind::readiness;
  line.answered = true;
  if (!result.success && failure_) failure_(line.kind, result.output);
  line.successes = result.success ? line.successes + 1 : 0;
  line.failures = result.success ? 0 : line.failures + 1;
  int needed = result.success ? line.probe.success_threshold.value_or(1) : line.probe.failure_threshold.value_or(3);
  if (decides) needed = 1;
  int count = result.success ? line.successes : line.failures;
  bool changed = count >= needed && line.verdict != result.success;

  if (changed) line.verdict = result.success;
  bool over = changed && (line.kind == ProbeKind::startup || (line.kind == ProbeKind::liveness && !result.success));
  if (over) {
    line.timer.reset();
  } else {
    auto next = asked + seconds(std::max(1, line.probe.period_seconds.value_or(10)));
    line.timer =
        scheduler_.after(std::max(next - scheduler_.now().steady, Duration::zero()), [this, index] { ask(index); });
  }
  if (!changed) return;
  auto kind = line.kind;
  if (kind == ProbeKind::startup && result.success) {
    for (auto& other : lines_) {
      if (other.kind != ProbeKind::startup) start(other);
    }
  }
  auto verdict = verdict_;  // it may destroy us
  verdict(kind, result.success, result.output);
}

void Prober::keep_readiness_only() {
  for (auto& line : lines_) {
    if (line.kind != ProbeKind::readiness) line.timer.reset();
  }
}

}  // namespace keelson::pods
