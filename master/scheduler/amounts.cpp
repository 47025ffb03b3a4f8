#include "master/scheduler/amounts.h"

#include <algorithm>
#include <limits>

namespace keelson::scheduler {

namespace {

int64_t sum(int64_t a, int64_t b) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  return a > 0 && b > kMax - a ? kMax : a + b;
}

bool is_sidecar(const api::Container& container) { return container.restart_policy == "Always"; }

}  // namespace

void Amounts::add(const Amounts& more) {
  cpu = sum(cpu, more.cpu);
  memory = sum(memory, more.memory);
  ephemeral_storage = sum(ephemeral_storage, more.ephemeral_storage);
  for (const auto& [name, amount] : more.others) others[name] = sum(others[name], amount);
}

void Amounts::subtract(const Amounts& less) {
  cpu -= less.cpu;
  memory -= less.memory;
  ephemeral_storage -= less.ephemeral_storage;
  for (const auto& [name, amount] : less.others) {
    if ((others[name] -= amount) == 0) others.erase(name);
  }
}

void Amounts::raise_to(const Amounts& other) {
  cpu = std::max(cpu, other.cpu);
  memory = std::max(memory, other.memory);
  ephemeral_storage = std::max(ephemeral_storage, other.ephemeral_storage);
  for (const auto& [name, amount] : other.others) others[name] = std::max(others[name], amount);
}

Amounts amounts_of(const std::map<std::string, api::Quantity>& quantities) {
  Amounts amounts;
  for (const auto& [name, quantity] : quantities) {
    // No request is below zero: the validator has seen to that, and an etcd of somebody else's has not.
    if (name == "cpu") {
      amounts.cpu = std::max<int64_t>(0, quantity.milli_value());
    } else if (name == "memory") {
      amounts.memory = std::max<int64_t>(0, quantity.value());
    } else if (name == "ephemeral-storage") {
      amounts.ephemeral_storage = std::max<int64_t>(0, quantity.value());
    } else if (const int64_t value = quantity.value(); value > 0 && name != "pods") {
      amounts.others[name] = value;
    }
  }
  return amounts;
}

Amounts requests_of(const api::Pod& pod) {
  Amounts running;
  for (const api::Container& container : pod.spec.containers) running.add(amounts_of(container.resources.requests));
  // An initialiser runs beside the sidecars that were started before it.
  Amounts sidecars, starting;
  for (const api::Container& container : pod.spec.init_containers) {
    Amounts moment = amounts_of(container.resources.requests);
    if (is_sidecar(container)) {
      running.add(moment);
      sidecars.add(moment);
      moment = sidecars;
    } else {
      moment.add(sidecars);
    }
    starting.raise_to(moment);
  }
  running.raise_to(starting);
  const Amounts whole = amounts_of(pod.spec.resources.requests);
  if (pod.spec.resources.requests.contains("cpu")) running.cpu = whole.cpu;
  if (pod.spec.resources.requests.contains("memory")) running.memory = whole.memory;
  for (const auto& [name, amount] : whole.others) running.others[name] = amount;
  running.add(amounts_of(pod.spec.overhead));
  return running;
}

ScoredUse scored_use_of(const api::Pod& pod) {
  constexpr int64_t kCpu = 100, kMemory = 200 * 1024 * 1024;
  ScoredUse use;
  const auto add = [&](const api::Container& container) {
    const auto& requests = container.resources.requests;
    const Amounts amounts = amounts_of(requests);
    use.cpu = sum(use.cpu, requests.contains("cpu") ? amounts.cpu : kCpu);
    use.memory = sum(use.memory, requests.contains("memory") ? amounts.memory : kMemory);
  };
  for (const api::Container& container : pod.spec.containers) add(container);
  for (const api::Container& container : pod.spec.init_containers) {
    if (is_sidecar(container)) add(container);
  }
  return use;
}

}  // namespace keelson::scheduler
