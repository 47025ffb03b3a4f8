// The pure parts: environment, container spec, volumes, pod files, status.
#include <boost/test/unit_test.hpp>

#include <sys/stat.h>
#include <unistd.h>

#include "agent/pods/container_log.h"
#include "agent/pods/container_spec.h"
#include "agent/pods/environment.h"
#include "agent/pods/pod_files.h"
#include "agent/pods/pull_secrets.h"
#include "agent/pods/stop_signal.h"
#include "test/unit/agent/pods/node.h"

BOOST_AUTO_TEST_SUITE(specs)

using namespace keelson;
using namespace keelson::pods;
using namespace keelson::pods::test;

namespace {

const NodeFacts kNode{.name = "node-1", .ips = {"192.0.2.1"}, .cpu_milli = 4000, .memory_bytes = 8LL << 30, .pods = 0};

struct Scratch {
  Scratch() {
    char pattern[] = "/tmp/keelson-spec-XXXXXX";
    path = mkdtemp(pattern);
  }
  ~Scratch() { std::filesystem::remove_all(path); }
  std::filesystem::path path;
};

api::EnvVar variable(const std::string& name, const std::string& value) {
  api::EnvVar result;
  result.name = name;
  result.value = value;
  return result;
}

api::ContainerSpec spec_of(const api::Pod& pod, const api::ImageInfo& image, const Environment& environment = {}) {
  auto spec = make_container_spec({.pod = pod,
                                   .container = pod.spec.containers[0],
                                   .attempt = 0,
                                   .image = image,
                                   .environment = environment,
                                   .node = kNode,
                                   .hostname = "web",
                                   .log_path = "/logs/0.log",
                                   .seccomp_root = "/seccomp",
                                   .mounts = {},
                                   .pids_limit = 0});
  BOOST_REQUIRE(spec);
  return std::move(*spec);
}

}  // namespace

BOOST_AUTO_TEST_CASE(references_expand_as_in_kubernetes) {
  Environment variables{{"A", "1"}, {"B", "$(A)"}};
  BOOST_TEST(expand("$(A)-$(B)", variables) == "1-$(A)");
  BOOST_TEST(expand("$$(A) $(NONE) $", variables) == "$(A) $(NONE) $");
  BOOST_TEST(expand("$(A", variables) == "$(A");
  BOOST_TEST(expand("$A $$$$", variables) == "$A $$");
}

BOOST_AUTO_TEST_CASE(environment_comes_from_values_fields_resources_and_services) {
  auto pod = make_pod("web", {make_container("main")});
  pod.metadata.labels["app"] = "shop";
  auto& container = pod.spec.containers[0];
  container.resources.limits["cpu"] = {"1500m"};
  container.env = {variable("FIRST", "1"), variable("SECOND", "$(FIRST)2 $(DB_SERVICE_HOST)")};
  auto field = variable("APP", "");
  field.value_from.emplace().field_ref.emplace().field_path = "metadata.labels['app']";
  auto ip = variable("IP", "");
  ip.value_from.emplace().field_ref.emplace().field_path = "status.podIP";
  auto cpu = variable("CPU", "");
  cpu.value_from.emplace().resource_field_ref.emplace().resource = "limits.cpu";
  auto memory = variable("MEMORY", "");
  memory.value_from.emplace().resource_field_ref.emplace().resource = "limits.memory";
  memory.value_from->resource_field_ref->divisor = api::Quantity{"1Mi"};
  for (auto& each : {field, ip, cpu, memory}) container.env.push_back(each);
  Objects objects;
  api::Service service;
  service.metadata.name = "db";
  service.spec.cluster_ip = "10.96.0.7";
  service.spec.ports.resize(1);
  service.spec.ports[0].port = 5432;
  service.spec.ports[0].name = "sql";
  service.spec.ports[0].protocol = "TCP";
  objects.services["default"] = {service};
  auto environment = make_environment(pod, container, objects, kNode, {"10.244.0.9"});
  BOOST_REQUIRE(environment);
  auto& got = *environment;
  BOOST_TEST(got["SECOND"] == "12 10.96.0.7");
  BOOST_TEST(got["APP"] == "shop");
  BOOST_TEST(got["IP"] == "10.244.0.9");
  BOOST_TEST(got["CPU"] == "2");        // rounded up
  BOOST_TEST(got["MEMORY"] == "8192");  // no limit: the node's
  BOOST_TEST(got["DB_SERVICE_PORT_SQL"] == "5432");
  BOOST_TEST(got["DB_PORT"] == "tcp://10.96.0.7:5432");
  BOOST_TEST(got["DB_PORT_5432_TCP_ADDR"] == "10.96.0.7");
  pod.spec.enable_service_links = false;
  BOOST_TEST(!make_environment(pod, container, objects, kNode, {})->contains("DB_SERVICE_HOST"));
}

BOOST_AUTO_TEST_CASE(a_missing_key_reads_as_kubernetes_says_it) {
  auto pod = make_pod("web", {make_container("main")});
  auto& container = pod.spec.containers[0];
  auto key = variable("K", "");
  key.value_from.emplace().secret_key_ref.emplace().ref.name = "creds";
  key.value_from->secret_key_ref->key = "password";
  container.env = {key};
  Objects objects;
  BOOST_TEST(make_environment(pod, container, objects, kNode, {}).error().message == "secret \"creds\" not found");
  api::Secret secret;
  objects.secrets[{"default", "creds"}] = secret;
  BOOST_TEST(make_environment(pod, container, objects, kNode, {}).error().message ==
             "couldn't find key password in Secret default/creds");
  container.env[0].value_from->secret_key_ref->optional = true;
  BOOST_TEST(!make_environment(pod, container, objects, kNode, {})->contains("K"));
}

BOOST_AUTO_TEST_CASE(command_and_args_replace_entrypoint_and_cmd) {
  api::ImageInfo image;
  image.entrypoint = {"/entry"};
  image.command = {"default"};
  auto pod = make_pod("web", {make_container("main")});
  using Words = std::vector<std::string>;
  BOOST_TEST(spec_of(pod, image).argv == Words({"/entry", "default"}), boost::test_tools::per_element());
  pod.spec.containers[0].args = {"$(X)"};
  BOOST_TEST(spec_of(pod, image, {{"X", "y"}}).argv == Words({"/entry", "y"}), boost::test_tools::per_element());
  pod.spec.containers[0].command = {"/own"};
  BOOST_TEST(spec_of(pod, image, {{"X", "y"}}).argv == Words({"/own", "y"}), boost::test_tools::per_element());
  pod.spec.containers[0].args.clear();
  BOOST_TEST(spec_of(pod, image).argv == Words({"/own"}), boost::test_tools::per_element());
}

BOOST_AUTO_TEST_CASE(security_is_the_containers_then_the_pods_then_the_default) {
  api::ImageInfo image;
  image.command = {"/bin/app"};
  image.user = "nginx";
  auto pod = make_pod("web", {make_container("main")});
  auto plain = spec_of(pod, image);
  BOOST_TEST(plain.user == "nginx");
  BOOST_TEST(plain.seccomp_profile == "RuntimeDefault");
  BOOST_TEST(!plain.no_new_privileges);
  auto& context = pod.spec.security_context.emplace();
  context.run_as_user = 1000;
  context.fs_group = 2000;
  context.seccomp_profile = api::SeccompProfile{"Localhost", "strict.json"};
  auto& own = pod.spec.containers[0].security_context.emplace();
  own.run_as_user = 1001;
  own.allow_privilege_escalation = false;
  auto spec = spec_of(pod, image);
  BOOST_TEST(spec.user == "1001");
  BOOST_TEST(spec.supplemental_groups.front() == 2000U);
  BOOST_TEST(spec.seccomp_profile == "Localhost:/seccomp/strict.json");
  BOOST_TEST(spec.no_new_privileges);
  own.privileged = true;
  BOOST_TEST(spec_of(pod, image).seccomp_profile == "Unconfined");
}

BOOST_AUTO_TEST_CASE(run_as_non_root_refuses_what_may_be_root) {
  api::ImageInfo image;
  image.command = {"/bin/app"};
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.security_context.emplace().run_as_non_root = true;
  auto refusal = [&] {
    auto spec = make_container_spec({.pod = pod,
                                     .container = pod.spec.containers[0],
                                     .image = image,
                                     .environment = {},
                                     .node = kNode,
                                     .hostname = "",
                                     .log_path = "",
                                     .seccomp_root = "",
                                     .mounts = {}});
    return spec ? std::string() : spec.error().message;
  };
  BOOST_TEST(refusal().starts_with("container has runAsNonRoot and image will run as root"));
  image.user = "nginx";
  BOOST_TEST(refusal().starts_with("container has runAsNonRoot and image has non-numeric user (nginx)"));
  image.user = "101";
  BOOST_TEST(refusal().empty());
  pod.spec.security_context->run_as_user = 0;
  BOOST_TEST(refusal().starts_with("container's runAsUser breaks non-root policy"));
}

BOOST_AUTO_TEST_CASE(oom_scores_follow_the_qos_class) {
  auto pod = make_pod("web", {make_container("main")});
  auto& container = pod.spec.containers[0];
  pod.status.qos_class = "BestEffort";
  BOOST_TEST(oom_score_adj(pod, container, 1000) == 1000);
  pod.status.qos_class = "Guaranteed";
  BOOST_TEST(oom_score_adj(pod, container, 1000) == -997);
  pod.status.qos_class = "Burstable";
  container.resources.requests["memory"] = {"250"};
  BOOST_TEST(oom_score_adj(pod, container, 1000) == 750);
  container.resources.requests["memory"] = {"1000"};
  BOOST_TEST(oom_score_adj(pod, container, 1000) == 2);
}

BOOST_AUTO_TEST_CASE(files_of_a_volume_change_all_at_once) {
  Scratch scratch;
  auto target = scratch.path / "volume";
  BOOST_REQUIRE(write_files(target, {{"a", "1", 0644}, {"deep/b", "2", 0400}}, std::nullopt));
  BOOST_TEST(host::read_file(target / "a").value() == "1");
  auto first = std::filesystem::read_symlink(target / "..data");
  BOOST_REQUIRE(write_files(target, {{"a", "1", 0644}, {"deep/b", "2", 0400}}, std::nullopt));
  BOOST_TEST(std::filesystem::read_symlink(target / "..data") == first);  // nothing to do
  BOOST_REQUIRE(write_files(target, {{"a", "3", 0644}}, std::nullopt));
  BOOST_TEST(host::read_file(target / "a").value() == "3");
  BOOST_TEST(!std::filesystem::exists(std::filesystem::symlink_status(target / "deep")));
  BOOST_TEST(!std::filesystem::exists(target / first));  // the old set is gone
}

BOOST_AUTO_TEST_CASE(sub_paths_cannot_leave_their_volume) {
  Scratch scratch;
  auto volume = scratch.path / "volume";
  std::filesystem::create_directory(volume);
  std::filesystem::create_directory(scratch.path / "outside");
  std::filesystem::create_directory_symlink(scratch.path / "outside", volume / "link");
  BOOST_TEST(make_beneath(volume, "a/b").has_value());
  BOOST_TEST(std::filesystem::is_directory(volume / "a/b"));
  BOOST_TEST(!make_beneath(volume, "link/escaped").has_value());
  BOOST_TEST(!std::filesystem::exists(scratch.path / "outside/escaped"));
  api::Container container;
  api::VolumeMount mount;
  mount.name = "data";
  mount.mount_path = "/data";
  mount.sub_path = "../up";
  container.volume_mounts = {mount};
  PodVolume planned;
  planned.name = "data";
  BOOST_TEST(!plan_mounts(container, {planned}, {}).has_value());
}

BOOST_AUTO_TEST_CASE(host_path_types_are_checked) {
  Scratch scratch;
  PodVolume volume;
  volume.name = "host";
  volume.kind = PodVolume::Kind::host_path;
  volume.path = scratch.path / "made";
  volume.host_path_type = "Directory";
  BOOST_TEST(prepare_volumes({volume}).error().message ==
             "MountVolume.SetUp failed for volume \"host\" : hostPath type check failed: " + volume.path.string() +
                 " is not a directory");
  volume.host_path_type = "DirectoryOrCreate";
  BOOST_TEST(prepare_volumes({volume}).has_value());
  volume.host_path_type = "File";
  BOOST_TEST(!prepare_volumes({volume}).has_value());
  volume.path = scratch.path / "file";
  volume.host_path_type = "FileOrCreate";
  BOOST_TEST(prepare_volumes({volume}).has_value());
  BOOST_TEST(std::filesystem::is_regular_file(volume.path));
}

BOOST_AUTO_TEST_CASE(a_memory_volume_is_the_pods_and_no_larger_than_its_limits) {
  auto pod = make_pod("web", {make_container("main")});
  api::Volume volume;
  volume.name = "cache";
  volume.source.empty_dir.emplace().medium = "Memory";
  volume.source.empty_dir->size_limit = api::Quantity{"64Mi"};
  pod.spec.volumes = {volume};
  api::VolumeMount mount;
  mount.name = "cache";
  mount.mount_path = "/cache";
  pod.spec.containers[0].volume_mounts = {mount};
  VolumeRoots roots{.disk = "/d", .memory = "/m"};
  auto volumes = plan_volumes(pod, {}, kNode, roots).value();
  auto mounts = plan_mounts(pod.spec.containers[0], volumes, {}).value().mounts;
  BOOST_TEST((mounts[0].type == api::Mount::Type::memory));
  BOOST_TEST(mounts[0].beneath == "cache");
  BOOST_TEST(mounts[0].source == "");
  BOOST_TEST(memory_volumes(volumes).at(0).size_bytes == 64U << 20);
  pod.spec.containers[0].resources.limits["memory"] = api::Quantity{"16Mi"};
  pod.spec.security_context.emplace().fs_group = 3000;
  pod.spec.containers[0].volume_mounts[0].sub_path = "deep/er";
  volumes = plan_volumes(pod, {}, kNode, roots).value();
  mounts = plan_mounts(pod.spec.containers[0], volumes, {}).value().mounts;
  BOOST_TEST(mounts[0].source == "deep/er");
  auto made = memory_volumes(volumes).at(0);
  BOOST_TEST(made.size_bytes == 16U << 20);
  BOOST_TEST(made.mode == 02777U);
  BOOST_TEST(made.group.value() == 3000U);
  pod.spec.containers[0].volume_mounts[0].sub_path = "../up";
  BOOST_TEST(!plan_mounts(pod.spec.containers[0], volumes, {}).has_value());
}

BOOST_AUTO_TEST_CASE(projected_sources_join_and_items_select) {
  auto pod = make_pod("web", {make_container("main")});
  pod.metadata.labels["tier"] = "front \"end\"";
  Objects objects;
  api::ConfigMap map;
  map.data = {{"a", "1"}, {"b", "2"}};
  objects.config_maps[{"default", "map"}] = map;
  api::Volume volume;
  volume.name = "all";
  auto& projected = volume.source.projected.emplace();
  projected.default_mode = 0400;
  projected.sources.resize(2);
  projected.sources[0].config_map.emplace().ref.name = "map";
  projected.sources[0].config_map->items.resize(1);
  projected.sources[0].config_map->items[0].key = "b";
  projected.sources[0].config_map->items[0].path = "deep/b.txt";
  projected.sources[1].downward_api.emplace().items.resize(1);
  projected.sources[1].downward_api->items[0].path = "labels";
  projected.sources[1].downward_api->items[0].field_ref.emplace().field_path = "metadata.labels";
  pod.spec.volumes = {volume};
  auto volumes = plan_volumes(pod, objects, kNode, {.disk = "/d", .memory = "/m"}).value();
  std::vector<VolumeFile> expected{{"deep/b.txt", "2", 0400}, {"labels", "tier=\"front \\\"end\\\"\"", 0400}};
  BOOST_TEST((volumes[0].files == expected));
  BOOST_TEST(volumes[0].path == host::Path("/m/projected/all"));
}

BOOST_AUTO_TEST_CASE(hosts_and_resolv_conf_are_kubernetes_managed) {
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.subdomain = "shop";
  pod.spec.host_aliases = {{"203.0.113.9", {"x", "y"}}};
  auto hosts = hosts_content(pod, {"10.244.0.2"}, "web", "cluster.local", "");
  BOOST_TEST(hosts.find("\n10.244.0.2\tweb.shop.default.svc.cluster.local\tweb\n") != std::string::npos);
  BOOST_TEST(hosts.ends_with("# Entries added by HostAliases.\n203.0.113.9\tx\ty\n"));
  DnsSettings dns;
  const std::string host_conf = "nameserver 9.9.9.9\nsearch example.org\noptions timeout:1\n";
  BOOST_TEST(resolv_conf_content(pod, dns, host_conf) == "search example.org\nnameserver 9.9.9.9\noptions timeout:1\n");
  dns.servers = {"10.96.0.10"};
  pod.spec.dns_config.emplace().options = {{"ndots", "2"}};
  BOOST_TEST(resolv_conf_content(pod, dns, host_conf) ==
             "search default.svc.cluster.local svc.cluster.local cluster.local example.org\n"
             "nameserver 10.96.0.10\noptions ndots:2\n");
  pod.spec.dns_policy = "None";
  pod.spec.dns_config->nameservers = {"1.1.1.1"};
  BOOST_TEST(resolv_conf_content(pod, dns, host_conf) == "nameserver 1.1.1.1\noptions ndots:2\n");
}

BOOST_AUTO_TEST_CASE(pull_secrets_are_read_in_both_forms) {
  auto pod = make_pod("web", {make_container("main")});
  pod.spec.image_pull_secrets = {{"new"}, {"old"}, {"broken"}, {"missing"}};
  Objects objects;
  objects.secrets[{"default", "new"}].data[".dockerconfigjson"] = {
      R"({"auths":{"https://index.docker.io/v1/":{"auth":"dXNlcjpwYXNzOndvcmQ="}}})"};
  objects.secrets[{"default", "old"}].data[".dockercfg"] = {R"({"r.example:5000":{"username":"u","password":"p"}})"};
  objects.secrets[{"default", "broken"}].data[".dockerconfigjson"] = {"{"};
  auto credentials = pull_credentials(pod, objects);
  BOOST_REQUIRE(credentials.size() == 2U);
  BOOST_TEST(credentials[0].registry == "docker.io");
  BOOST_TEST(credentials[0].username == "user");
  BOOST_TEST(credentials[0].password == "pass:word");
  BOOST_TEST(credentials[1].registry == "r.example:5000");
}

BOOST_AUTO_TEST_CASE(stop_signals_are_read_by_name_and_number) {
  api::Container container;
  BOOST_TEST(stop_signal_of(container, "") == 15);
  BOOST_TEST(stop_signal_of(container, "SIGQUIT") == 3);
  BOOST_TEST(stop_signal_of(container, "2") == 2);
  BOOST_TEST(stop_signal_of(container, "SIGRTMIN+3") == 37);
  BOOST_TEST(stop_signal_of(container, "nonsense") == 15);
  container.lifecycle.emplace().stop_signal = "SIGUSR1";
  BOOST_TEST(stop_signal_of(container, "SIGQUIT") == 10);
}

BOOST_AUTO_TEST_CASE(the_end_of_a_log_is_read_without_its_tags) {
  Scratch scratch;
  std::string log;
  for (int i = 0; i < 100; ++i) log += fmt::format("2026-11-22T17:00:00.000000001Z stderr F line {}\n", i);
  BOOST_REQUIRE(host::write_file_atomically(scratch.path / "0.log", log));
  auto tail = log_tail(scratch.path / "0.log");
  BOOST_TEST(tail.starts_with("line 20\n"));
  BOOST_TEST(tail.ends_with("line 99\n"));
  BOOST_TEST(log_tail(scratch.path / "none.log") == "");
}

BOOST_AUTO_TEST_SUITE_END()
