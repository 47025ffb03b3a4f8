#include <stdlib.h>

#include <boost/test/unit_test.hpp>
#include <filesystem>
#include <fstream>

#include "agent/node/conditions.h"
#include "agent/node/facts.h"
#include "agent/node/node_object.h"
#include "api/patch.h"
#include "api/resource.h"

BOOST_AUTO_TEST_SUITE(the_node_object)

using namespace keelson;
using namespace keelson::node;

namespace {

// A machine as a directory.
struct Machine {
  Machine() {
    char pattern[] = "/tmp/keelson-node-XXXXXX";
    root = ::mkdtemp(pattern);
    write("etc/machine-id", "0123456789abcdef0123456789abcdef\n");
    write("etc/os-release", "ID=debian\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
    write("proc/sys/kernel/random/boot_id", "6dbd1b44-6ae7-4fa5-9c8a-6e8b8d7fb0a0\n");
    write("proc/meminfo", "MemTotal:        2048000 kB\nMemFree: 1 kB\nMemAvailable:    1024000 kB\nSwapTotal: 0 kB\n");
    write("proc/loadavg", "0.20 0.18 0.12 1/80 11206\n");
    write("proc/sys/kernel/pid_max", "4194304\n");
    write("proc/sys/kernel/threads-max", "15000\n");
    write("sys/class/dmi/id/product_uuid", "EC2D1B44-0000-4FA5-9C8A-6E8B8D7FB0A0\n");
    write("sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages", "4\n");
    write("sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages", "0\n");
  }
  ~Machine() { std::filesystem::remove_all(root); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root / path).parent_path());
    std::ofstream(root / path) << text;
  }
  host::Path root;
};

Identity identity() {
  Identity one;
  one.name = "node1";
  one.addresses = {*api::IpAddress::parse("192.0.2.10"), *api::IpAddress::parse("fd00:2::10")};
  one.labels = {{"rack", "7"}};
  one.port = 10250;
  one.version = "0.1.0";
  return one;
}

std::string condition(const std::vector<api::NodeCondition>& conditions, const std::string& type) {
  for (const auto& one : conditions)
    if (one.type == type) return one.status + " " + one.reason + ": " + one.message;
  return "";
}

api::AnyObject patched(const api::Node& node, const std::string& patch) {
  api::Tree tree;
  size_t used = 0;
  const auto text = api::encode_json(node);
  const auto target = api::read_json(text, tree, 1, used);
  const auto change = api::read_json(patch, tree, 1, used);
  BOOST_REQUIRE(target);
  BOOST_REQUIRE_MESSAGE(change, patch);
  const auto result = api::strategic_merge_patch(api::type_of<api::Node>(), **target, **change, tree);
  BOOST_REQUIRE_MESSAGE(result, patch);
  auto object = api::read_object(api::resource_of<api::Node>(), **result);
  BOOST_REQUIRE(object);
  BOOST_TEST(object->strict.empty());
  return std::move(object->object);
}

}  // namespace

BOOST_AUTO_TEST_CASE(all_eight_fields_of_node_info_are_the_machines_own) {
  const Machine machine;
  const auto node = make_node(identity(), look_at_machine("/tmp", machine.root));
  const auto& info = node.status.node_info;
  BOOST_TEST(info.machine_id == "0123456789abcdef0123456789abcdef");
  BOOST_TEST(info.system_uuid == "EC2D1B44-0000-4FA5-9C8A-6E8B8D7FB0A0");
  BOOST_TEST(info.boot_id == "6dbd1b44-6ae7-4fa5-9c8a-6e8b8d7fb0a0");
  BOOST_TEST(!info.kernel_version.empty());
  BOOST_TEST(info.os_image == "Debian GNU/Linux 12 (bookworm)");
  BOOST_TEST(info.container_runtime_version == "keelson://0.1.0");
  BOOST_TEST(info.kubelet_version.starts_with("v1."));
  BOOST_TEST(info.kubelet_version.find("-keelson") != std::string::npos);
  BOOST_TEST(info.kube_proxy_version == info.kubelet_version);
  BOOST_TEST(info.operating_system == "linux");
  BOOST_TEST(!info.architecture.empty());
}

BOOST_AUTO_TEST_CASE(a_machine_without_dmi_has_its_machine_id_for_a_uuid) {
  const Machine machine;
  std::filesystem::remove_all(machine.root / "sys/class/dmi");
  BOOST_TEST(look_at_machine("/tmp", machine.root).info.system_uuid == "0123456789abcdef0123456789abcdef");
}

BOOST_AUTO_TEST_CASE(capacity_is_all_there_is_and_allocatable_what_pods_may_have) {
  const Machine machine;
  const auto node = make_node(identity(), look_at_machine("/tmp", machine.root));
  const auto& capacity = node.status.capacity;
  BOOST_TEST(capacity.at("memory").text == "2048000Ki");
  BOOST_TEST(capacity.at("pods").text == "110");
  BOOST_TEST(capacity.at("hugepages-2Mi").text == "8192Ki");
  BOOST_TEST(capacity.at("hugepages-1Gi").text == "0");
  BOOST_TEST(capacity.at("ephemeral-storage").value() > 0);
  BOOST_TEST(capacity.at("cpu").value() >= 1);
  BOOST_TEST(node.status.allocatable.at("memory").text == "1937408Ki");  // 100Mi, and what hugepages took
  BOOST_TEST(node.status.allocatable.at("ephemeral-storage").value() < capacity.at("ephemeral-storage").value());
}

BOOST_AUTO_TEST_CASE(names_labels_and_addresses_are_kubernetes) {
  const Machine machine;
  const auto node = make_node(identity(), look_at_machine("/tmp", machine.root));
  BOOST_TEST(node.metadata.labels.at("kubernetes.io/hostname") == "node1");
  BOOST_TEST(node.metadata.labels.at("kubernetes.io/os") == "linux");
  BOOST_TEST(node.metadata.labels.at("rack") == "7");
  BOOST_TEST(node.spec.external_id == "node1");
  BOOST_TEST(node.spec.provider_id == "keelson://node1");
  BOOST_REQUIRE(node.status.addresses.size() == 3u);
  BOOST_TEST(node.status.addresses[1].address == "fd00:2::10");
  BOOST_TEST(node.status.addresses[2].type == "Hostname");
  BOOST_TEST(node.status.daemon_endpoints.kubelet_endpoint.port == 10250);
}

BOOST_AUTO_TEST_CASE(conditions_have_kubelets_words) {
  const Machine machine;
  Wellbeing well{.pressure = look_at_pressure("/tmp", machine.root), .not_ready = {}, .no_network = ""};
  const auto fine = make_conditions(well, {}, {100});
  BOOST_TEST(condition(fine, "Ready") == "True KubeletReady: kubelet is posting ready status");
  BOOST_TEST(condition(fine, "MemoryPressure") ==
             "False KubeletHasSufficientMemory: kubelet has sufficient memory available");
  BOOST_TEST(condition(fine, "PIDPressure") == "False KubeletHasSufficientPID: kubelet has sufficient PID available");
  BOOST_TEST(condition(fine, "NetworkUnavailable").starts_with("False RouteCreated"));

  well.pressure = {.memory_available = 50 << 20,
                   .memory_total = 1 << 30,
                   .disk_available = 5,
                   .disk_total = 1000,
                   .inodes_free = 999,
                   .inodes_total = 1000,
                   .pids = 14'900,
                   .pids_max = 15'000};
  well.no_network = "no pod CIDR has been assigned";
  const auto bad = make_conditions(well, fine, {200});
  BOOST_TEST(condition(bad, "MemoryPressure").starts_with("True KubeletHasInsufficientMemory"));
  BOOST_TEST(condition(bad, "DiskPressure").starts_with("True KubeletHasDiskPressure"));
  BOOST_TEST(condition(bad, "PIDPressure").starts_with("True KubeletHasInsufficientPID"));
  BOOST_TEST(condition(bad, "Ready") ==
             "False KubeletNotReady: container runtime network not ready: NetworkReady=false "
             "reason:NetworkPluginNotReady message:no pod CIDR has been assigned");
}

BOOST_AUTO_TEST_CASE(what_cannot_be_known_is_no_pressure) {
  const auto conditions = make_conditions({.pressure = {}, .not_ready = {}, .no_network = ""}, {}, {100});
  for (const auto* type : {"MemoryPressure", "DiskPressure", "PIDPressure"})
    BOOST_TEST(condition(conditions, type).starts_with("False"));
}

BOOST_AUTO_TEST_CASE(a_condition_that_stays_keeps_its_time) {
  const Wellbeing well{.pressure = {}, .not_ready = {}, .no_network = ""};
  const auto first = make_conditions(well, {}, {100});
  const auto second = make_conditions(well, first, {200});
  BOOST_TEST(second.back().last_transition_time->seconds == 100);
  BOOST_TEST(second.back().last_heartbeat_time->seconds == 200);
  api::NodeStatus a, b;
  a.conditions = first;
  b.conditions = second;
  BOOST_TEST(!differs(a, b));
  b.conditions.back().status = "False";
  BOOST_TEST(differs(a, b));
}

BOOST_AUTO_TEST_CASE(a_node_made_by_hand_is_adopted_and_what_others_wrote_stays) {
  const Machine machine;
  const auto wanted = make_node(identity(), look_at_machine("/tmp", machine.root));
  api::Node found;
  found.metadata.name = "node1";
  found.metadata.labels = {{"team", "db"}, {"rack", "6"}};
  found.spec.unschedulable = true;
  const auto patch = adoption_patch(wanted, found);
  const auto adopted = patched(found, patch);
  const auto& node = *adopted.get_if<api::Node>();
  BOOST_TEST(node.metadata.labels.at("team") == "db");
  BOOST_TEST(node.metadata.labels.at("rack") == "7");
  BOOST_TEST(node.spec.unschedulable.value());
  BOOST_TEST(node.spec.external_id == "node1");
  BOOST_TEST(adoption_patch(wanted, node) == "");
}

BOOST_AUTO_TEST_CASE(a_status_replaces_addresses_and_leaves_conditions_of_others) {
  const Machine machine;
  auto node = make_node(identity(), look_at_machine("/tmp", machine.root));
  node.status.conditions = make_conditions({.pressure = {}, .not_ready = {}, .no_network = ""}, {}, {100});
  api::Node found;
  found.metadata.name = "node1";
  found.status.addresses = {{"InternalIP", "198.51.100.1"}, {"ExternalIP", "203.0.113.5"}};
  found.status.conditions = {{.type = "KernelDeadlock", .status = "False"}};
  found.status.images = {{.names = {"old"}, .size_bytes = 1}};
  const auto result = patched(found, status_patch(node.status));
  const auto& status = result.get_if<api::Node>()->status;
  BOOST_TEST(status.addresses.size() == 3u);
  BOOST_TEST(status.addresses[0].address == "192.0.2.10");
  BOOST_TEST(status.addresses[1].address == "fd00:2::10");
  BOOST_TEST(status.conditions.size() == 6u);
  BOOST_TEST(status.images.empty());
  BOOST_TEST((status.node_info == node.status.node_info));
}

BOOST_AUTO_TEST_CASE(a_node_that_was_called_lost_notices) {
  api::NodeStatus said, known;
  said.conditions = known.conditions = make_conditions({.pressure = {}, .not_ready = {}, .no_network = ""}, {}, {100});
  known.conditions.push_back({.type = "KernelDeadlock", .status = "True"});
  BOOST_TEST(tells(known, said));
  known.conditions[4].status = "Unknown";
  BOOST_TEST(!tells(known, said));
}

BOOST_AUTO_TEST_CASE(the_largest_images_are_told) {
  std::vector<api::ImageInfo> images(60);
  for (size_t i = 0; i < images.size(); ++i) {
    images[i].tags = {"image:" + std::to_string(i)};
    images[i].size = i;
  }
  const auto told = told_images(images);
  BOOST_TEST(told.size() == 50u);
  BOOST_TEST(told[0].names[0] == "image:59");
}

BOOST_AUTO_TEST_SUITE_END()
