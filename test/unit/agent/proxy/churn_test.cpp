// Random churn through the service table and the planner, carried out step by step on
// a kernel of plain arrays: what it holds must mean what the model says, in between
// as well as at the end, over restarts too.

#include <boost/test/unit_test.hpp>
#include <random>

#include "agent/proxy/plan.h"
#include "agent/proxy/service_table.h"
#include "test/unit/agent/proxy/service_model.h"

BOOST_AUTO_TEST_SUITE(churn_tests)

using namespace keelson;
using namespace keelson::proxy;
using namespace std::chrono_literals;
using keelson::test::ServiceModel;

namespace {

constexpr Limits kLimits{.vips = 512, .services = 256, .backends = 256, .slots = 16384};

struct FakeKernel {
  std::map<Vip, uint32_t> vips;
  std::vector<keelson::abi::service> services = std::vector<keelson::abi::service>(kLimits.services);
  std::vector<uint32_t> slots = std::vector<uint32_t>(kLimits.slots);
  std::vector<keelson::abi::backend> backends = std::vector<keelson::abi::backend>(kLimits.backends);
  std::map<uint32_t, host::TimePoint> retired;

  // `check` after every single write.
  template <typename Check>
  void apply(const Plan& plan, host::TimePoint now, Check check) {
    for (const auto& write : plan.backends) {
      auto& backend = backends[write.id];
      if (write.fresh) {
        BOOST_REQUIRE(backend.state == keelson::abi::BACKEND_FREE);
        BOOST_REQUIRE_NE(backend.generation, write.value.generation);
        if (retired.contains(write.id)) BOOST_REQUIRE(now - retired[write.id] >= 1s);
      } else {
        // A live number keeps its address.
        BOOST_REQUIRE_EQUAL(backend.generation, write.value.generation);
        BOOST_REQUIRE(from_abi(backend.address) == from_abi(write.value.address) && backend.port == write.value.port);
      }
      backend = write.value;
      check();
    }
    for (const auto& write : plan.slots) {
      for (size_t i = 0; i < write.backends.size(); ++i) {
        // A block that a reader may hold is never written to.
        for (const auto& [vip, id] : vips) {
          const auto& live = services[id].published;
          BOOST_REQUIRE(write.base + i < live.base || write.base + i >= live.base + live.count);
        }
        slots[write.base + i] = write.backends[i];
      }
      check();
    }
    for (const auto& write : plan.services) {
      services[write.id] = write.value;
      check();
    }
    for (const auto& [vip, id] : plan.vip_adds) {
      vips[vip] = id;
      check();
    }
    for (const auto& vip : plan.vip_deletes) {
      BOOST_REQUIRE_EQUAL(vips.erase(vip), 1);
      check();
    }
    for (const auto& write : plan.states) {
      backends[write.id].state = write.state;
      if (write.state == keelson::abi::BACKEND_FREE) retired[write.id] = now;
      check();
    }
  }

  ServiceModel::Meaning meaning() const {
    ServiceModel::Meaning all;
    for (const auto& [vip, id] : vips) {
      auto& places = all[vip];
      const auto [base, count, generation] = services[id].published;
      for (uint32_t i = 0; i < count; ++i) {
        const auto& backend = backends[slots[base + i]];
        BOOST_REQUIRE(backend.state == keelson::abi::BACKEND_READY ||
                      backend.state == keelson::abi::BACKEND_TERMINATING);
        places.insert({from_abi(backend.address), backend.port});
      }
    }
    return all;
  }

  KernelState state() const {
    return {.vips = std::vector<std::pair<Vip, uint32_t>>(vips.begin(), vips.end()),
            .services = services,
            .slots = slots,
            .backends = backends};
  }
};

class World {
 public:
  explicit World(uint32_t seed) : random_(seed) { restart(); }

  void step() {
    const auto before = kernel_.meaning();
    for (uint32_t changes = pick(3) + 1; changes > 0; --changes) mutate();
    now_ += std::chrono::milliseconds(pick(900));
    planner_->release(now_);
    const auto after = model_.meaning();
    const auto plan = planner_->plan(table_->take_changes(), now_);
    kernel_.apply(plan, now_, [&] { check_between(before, after); });
    BOOST_REQUIRE(planner_->degraded().empty());
    BOOST_REQUIRE(kernel_.meaning() == after);
  }

  void restart() {
    table_ = std::make_unique<ServiceTable>(NodeView{.name = "node"});
    planner_ = std::make_unique<Planner>(kLimits);
    planner_->adopt(kernel_.state());
    for (const auto& [name, service] : model_.services) table_->set_service(service);
    for (const auto& [name, endpoints] : model_.endpoints) table_->set_endpoints(endpoints);
    for (const auto& [name, pod] : model_.pods) table_->set_pod(pod);
    now_ += 2s;
    const auto meaning = model_.meaning();
    const auto plan = planner_->plan(table_->take_changes(), now_);
    // Nothing has changed, so nothing may be published anew.
    BOOST_REQUIRE(plan.slots.empty());
    BOOST_REQUIRE(plan.vip_adds.empty());
    kernel_.apply(plan, now_, [&] { BOOST_REQUIRE(kernel_.meaning() == meaning); });
    kernel_.apply(planner_->collect_garbage(now_), now_, [&] { BOOST_REQUIRE(kernel_.meaning() == meaning); });
  }

  void end() {
    model_ = {};
    for (const auto& [name, service] : std::map(table_->services())) table_->remove_service(name);
    for (int i = 0; i < kPods; ++i) table_->remove_pod({"default", "pod-" + std::to_string(i)});
    kernel_.apply(planner_->plan(table_->take_changes(), now_), now_, [] {});
    now_ += 10s;
    planner_->release(now_);
    BOOST_REQUIRE(kernel_.vips.empty());
    const auto usage = planner_->usage();
    BOOST_REQUIRE_EQUAL(usage.vips + usage.services + usage.backends + usage.slots, 0);
  }

 private:
  static constexpr int kServices = 5, kPods = 6;

  uint32_t pick(uint32_t below) { return std::uniform_int_distribution<uint32_t>(0, below - 1)(random_); }

  // A reader sees the old meaning or the new one of each address, and never a mixture.
  void check_between(const ServiceModel::Meaning& before, const ServiceModel::Meaning& after) {
    for (const auto& [vip, places] : kernel_.meaning()) {
      const auto old = before.find(vip), now = after.find(vip);
      BOOST_REQUIRE((old != before.end() && old->second == places) || (now != after.end() && now->second == places));
    }
  }

  void mutate() {
    if (pick(3) == 0) {
      const auto i = pick(kServices);
      const auto name = "service-" + std::to_string(i);
      if (pick(3) == 0) {
        model_.services.erase(name);
        table_->remove_service({"default", name});
      } else {
        model_.services[name] = make_service(static_cast<int>(i));
        table_->set_service(model_.services[name]);
      }
    } else if (pick(6) == 0) {
      const auto name = "service-" + std::to_string(pick(kServices));
      if (pick(2) == 0) {
        model_.endpoints.erase(name);
        table_->remove_endpoints({"default", name});
      } else {
        model_.endpoints[name] = make_endpoints(name);
        table_->set_endpoints(model_.endpoints[name]);
      }
    } else {
      const auto i = static_cast<int>(pick(kPods));
      const auto name = "pod-" + std::to_string(i);
      if (pick(4) == 0) {
        model_.pods.erase(name);
        table_->remove_pod({"default", name});
      } else {
        model_.pods[name] = make_pod(i);
        table_->set_pod(model_.pods[name]);
      }
    }
  }

  api::Service make_service(int i) {
    api::Service service;
    service.metadata.namespace_ = "default";
    service.metadata.name = "service-" + std::to_string(i);
    if (pick(4) != 0) service.spec.selector["app"] = pick(2) == 0 ? "a" : "b";
    if (!service.spec.selector.empty() && pick(4) == 0) service.spec.selector["tier"] = "front";
    service.spec.type = pick(2) == 0 ? "NodePort" : "ClusterIP";
    const auto last = std::to_string(i + 1);
    const auto families = pick(3);
    if (families != 1) service.spec.cluster_ips.push_back("10.96.0." + last);
    if (families != 0) service.spec.cluster_ips.push_back("fd00:96::" + last);
    service.spec.cluster_ip = service.spec.cluster_ips.front();
    if (pick(4) == 0) service.spec.session_affinity = "ClientIP";
    if (pick(5) == 0) service.spec.publish_not_ready_addresses = true;
    for (uint32_t p = 0; p < pick(3) + 1; ++p) {
      api::ServicePort port;
      port.name = "p" + std::to_string(p);
      port.protocol = p % 2 == 0 ? "TCP" : "UDP";
      port.port = static_cast<int32_t>(80 + p);
      if (pick(3) == 0) {
        port.target_port = api::IntOrString{.is_string = true, .text = "named"};
      } else if (pick(2) == 0) {
        port.target_port = api::IntOrString{.number = static_cast<int32_t>(8000 + p)};
      }
      port.node_port = 30000 + i * 10 + static_cast<int32_t>(p);
      service.spec.ports.push_back(port);
    }
    return service;
  }

  api::Endpoints make_endpoints(const std::string& name) {
    api::Endpoints endpoints;
    endpoints.metadata.namespace_ = "default";
    endpoints.metadata.name = name;
    api::EndpointSubset subset;
    for (uint32_t i = 0; i < pick(4); ++i) {
      subset.addresses.push_back({.ip = "10.9.0." + std::to_string(i + 1)});
      if (pick(2) == 0) subset.addresses.push_back({.ip = "fd00:9::" + std::to_string(i + 1)});
    }
    subset.ports.push_back({.name = "p0", .port = 9000, .protocol = "TCP"});
    if (pick(2) == 0) subset.ports.push_back({.name = "p1", .port = 9001, .protocol = "UDP"});
    endpoints.subsets.push_back(subset);
    return endpoints;
  }

  api::Pod make_pod(int i) {
    api::Pod pod;
    pod.metadata.namespace_ = "default";
    pod.metadata.name = "pod-" + std::to_string(i);
    pod.metadata.labels["app"] = pick(2) == 0 ? "a" : "b";
    if (pick(2) == 0) pod.metadata.labels["tier"] = "front";
    if (pick(5) == 0) pod.metadata.deletion_timestamp = api::Time{};
    pod.status.phase = pick(6) == 0 ? "Failed" : "Running";
    const auto last = std::to_string(i + 1);
    pod.status.pod_ips.push_back({"10.244.0." + last});
    if (pick(2) == 0) pod.status.pod_ips.push_back({"fd00:244::" + last});
    pod.status.conditions.push_back({.type = "Ready", .status = pick(4) == 0 ? "False" : "True"});
    api::Container container;
    if (pick(2) == 0) {
      api::ContainerPort port;
      port.name = "named";
      port.protocol = pick(2) == 0 ? "TCP" : "UDP";
      port.container_port = static_cast<int32_t>(7000 + pick(2));
      if (pick(3) == 0) port.host_port = 9000 + i;
      container.ports.push_back(port);
    }
    pod.spec.containers.push_back(container);
    return pod;
  }

  std::mt19937 random_;
  ServiceModel model_;
  FakeKernel kernel_;
  std::unique_ptr<ServiceTable> table_;
  std::unique_ptr<Planner> planner_;
  host::TimePoint now_{1h};
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_kernel_means_what_the_services_say_after_and_during_every_change) {
  for (uint32_t seed = 1; seed <= 40; ++seed) {
    BOOST_TEST_CONTEXT("seed " << seed) {
      World world(seed);
      for (int i = 0; i < 60; ++i) {
        world.step();
        if (i % 20 == 19) world.restart();
      }
      world.end();
    }
  }
}

BOOST_AUTO_TEST_SUITE_END()
