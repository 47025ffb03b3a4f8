#include "master/components.h"

#include <fmt/core.h>

#include <utility>

#include "host/log.h"
#include "master/controllers/controllers.h"
#include "master/election/leader.h"
#include "master/scheduler/scheduler.h"

namespace keelson::master {

using host::Result;

struct Components::Component {
  std::string name;  // "kube-scheduler": of its Lease and in the log
  apiclient::Config config;
  // Makes it act, for as long as what is returned lives.
  std::function<Result<std::shared_ptr<void>>(const apiclient::Config&)> begin;
  std::shared_ptr<void> acting;              // one owner: of a type that only `begin` knows
  std::unique_ptr<election::Leader> leader;  // null without an election

  host::Status start() {
    auto begun = begin(config);
    if (!begun) return std::unexpected(std::move(begun.error()).within(name));
    acting = std::move(*begun);
    return {};
  }
};

namespace {

template <typename T>
Result<std::shared_ptr<void>> erased(Result<std::unique_ptr<T>> made) {
  if (!made) return std::unexpected(std::move(made.error()));
  return std::shared_ptr<void>(std::move(*made));
}

controllers::ControllersOptions controllers_options(const Options& options, const Setup& setup) {
  controllers::ControllersOptions result;
  result.node_monitor_grace_period = options.node_monitor_grace_period;
  if (options.pod_eviction_timeout) {
    result.pod_eviction_timeout = std::chrono::duration_cast<std::chrono::seconds>(*options.pod_eviction_timeout);
  }
  result.cluster_cidrs = setup.cluster_cidrs;
  result.node_mask_v4 = options.node_cidr_mask_size_ipv4;
  result.node_mask_v6 = options.node_cidr_mask_size_ipv6;
  result.terminated_pods = static_cast<size_t>(options.terminated_pod_gc_threshold);
  return result;
}

}  // namespace

Components::Components() = default;
Components::~Components() = default;

Result<std::unique_ptr<Components>> Components::create(host::Loop& loop, const Options& options, const Setup& setup,
                                                       const Access& access, host::Metrics& metrics) {
  std::unique_ptr<Components> components(new Components);
  const auto identity = election::identity_in(setup.data_dir);
  if (!identity) return std::unexpected(identity.error());
  const auto add = [&](std::string name, auto begin) -> host::Status {
    auto config = access("system:" + name);
    if (!config) return std::unexpected(config.error());
    config->user_agent = "keelson-" + name;
    auto& component = components->all_.emplace_back(std::make_unique<Component>());
    component->name = std::move(name);
    component->config = std::move(*config);
    component->begin = std::move(begin);
    if (!options.leader_elect) return component->start();
    auto leader = election::Leader::create(
        loop, component->config, {.name = component->name, .identity = *identity},
        [c = component.get()] {
          host::log_info("{}: leads", c->name);
          // Its configuration was good enough for the election; what fails now is tried at the next one.
          if (auto started = c->start(); !started) host::log_error("{}", started.error().message);
        },
        [c = component.get()] {
          host::log_info("{}: leads no more", c->name);
          c->acting.reset();
        });
    if (!leader) return std::unexpected(std::move(leader.error()).within(component->name));
    component->leader = std::move(*leader);
    return {};
  };
  if (options.runs("scheduler")) {
    auto added = add("kube-scheduler", [&loop, &metrics](const apiclient::Config& config) {
      return erased(scheduler::Scheduler::create(loop, config, {}, metrics));
    });
    if (!added) return std::unexpected(added.error());
  }
  if (options.runs("controllers")) {
    // At once, not only when it leads.
    if (auto valid = controllers::validate(controllers_options(options, setup)); !valid) {
      return std::unexpected(valid.error());
    }
    auto added =
        add("kube-controller-manager",
            [&loop, &metrics, settings = controllers_options(options, setup)](const apiclient::Config& config) {
              return erased(controllers::Controllers::create(loop, config, settings, metrics));
            });
    if (!added) return std::unexpected(added.error());
  }
  return components;
}

void Components::release(std::function<void()> done) {
  released_ = std::move(done);
  releasing_ = 1;
  const auto one_less = [this] {
    if (--releasing_ == 0) std::exchange(released_, nullptr)();
  };
  for (auto& component : all_) {
    if (!component->leader) {
      component->acting.reset();
      continue;
    }
    ++releasing_;
    component->leader->release(one_less);
  }
  one_less();
}

}  // namespace keelson::master
