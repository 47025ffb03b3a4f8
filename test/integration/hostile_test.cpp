// A hostile Pod on a node: what it may try (POD_RUNTIME.md, "Attacks it must survive") and
// a canary on the host that must stay as it is. test/coverage.md maps the attacks.
#include <fmt/core.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "test/integration/sandbox.h"

using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

constexpr const char* kCanary = "the canary lives\n";

struct Node : Sandbox {
  Node() {
    shell(fmt::format("mkdir -p {0}/canary {0}/shared && printf '{1}' > {0}/canary/file && chmod 644 {0}/canary/file",
                      directory().string(), "the canary lives\\n"));
    import_test_image();
    start_agent();
  }
  ~Node() {
    BOOST_TEST(shell("cat " + canary() + "/file").out == kCanary);
    BOOST_TEST(shell("ls -A " + canary()).out == "file\n");
  }
  std::string canary() const { return (directory() / "canary").string(); }

  std::string in_pod(const std::string& pod, const std::string& script) {
    return ctl({"exec", pod, "--", "/bin/sh", "-c", script}).out;
  }
  void run_pod(const std::string& name, const std::string& spec) {
    write_manifest(name + ".yaml", fmt::format("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\nspec:\n"
                                               "  terminationGracePeriodSeconds: 1\n{}",
                                               name, spec));
  }
  void run_ready_pod(const std::string& name, const std::string& spec) {
    run_pod(name, spec);
    require_eventually(name + " is Ready", [&] { return pod_is_ready(name); }, 20s);
  }
  // A Pod of one container that runs once: what became of it, reason and message.
  std::string outcome(const std::string& name, const std::string& spec) {
    run_pod(name, "  restartPolicy: Never\n" + spec);
    require_eventually(name + " has ended", [&] {
      const auto phase = pod_value(name, "/status/phase");
      return phase == "Failed" || phase == "Succeeded";
    });
    return pod_value(name, "/status/containerStatuses/0/state/terminated/reason") + " " +
           pod_value(name, "/status/containerStatuses/0/state/terminated/message");
  }
  // An image with the test image's programs, changed by a script that runs in its root.
  void import_image(const std::string& name, const std::string& script) {
    const auto made =
        shell(fmt::format("set -e; cd {0}; mkdir -p {1}-root/bin; cp {2}/demo-echo {1}-root/bin/; (cd {1}-root; {3}); "
                          "{4}/tools/mkimage --root {1}-root --name {1}:1 --entrypoint /bin/demo-echo --output {1}.tar",
                          directory().string(), name, binaries().string(), script, KEELSON_SOURCE_DIR));
    BOOST_REQUIRE_MESSAGE(made.wait_status == 0, made.err);
    const auto imported = ctl({"images", "import", (directory() / (name + ".tar")).string()});
    BOOST_REQUIRE_MESSAGE(imported.wait_status == 0, imported.err);
  }
};

constexpr const char* kSleeper = R"(
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sleep, "1000"]}]
)";

std::string one_container(const std::string& fields, const std::string& volumes = "[]") {
  return fmt::format("  containers: [{{name: main, image: busybox-test, imagePullPolicy: Never, {}}}]\n  volumes: {}\n",
                     fields, volumes);
}

}  // namespace

// CVE-2019-5736
BOOST_FIXTURE_TEST_CASE(the_runtimes_program_cannot_be_overwritten_from_a_container, Node) {
  const auto sum = [this] { return shell("sha256sum " + (binaries() / "podshim").string()).out; };
  const auto before = sum();
  // Whatever enters the container is attacked through /proc the moment that it is seen.
  run_ready_pod("writer", one_container(R"(command: [/bin/sh, -c, "while :; do for p in /proc/[0-9]*/exe; do
    (echo pwned > $p) 2>/dev/null && case $(readlink $p) in */bin/*) ;; *) echo wrote $p $(readlink $p);; esac; done; done"])"));
  for (int i = 0; i < 20; ++i) BOOST_TEST(in_pod("writer", "echo in") == "in\n");
  BOOST_TEST(ctl({"logs", "writer"}).out == "");
  // A container whose program is the runtime's own.
  const auto text = outcome("self", one_container("command: [/proc/self/exe]"));
  BOOST_TEST(contains(text, "Error"), text);
  BOOST_TEST(sum() == before);
  run_ready_pod("after", kSleeper);
}

// CVE-2024-21626
BOOST_FIXTURE_TEST_CASE(no_descriptor_and_no_directory_of_the_host_leaks, Node) {
  std::string containers = "  restartPolicy: Never\n  containers:\n";
  for (int fd = 3; fd < 40; ++fd) {
    containers += fmt::format(
        "  - {{name: c{0}, image: busybox-test, imagePullPolicy: Never, workingDir: /proc/self/fd/{0}, command: "
        "[/bin/sh, "
        "-c, 'cat ../../../../../../..{1}/file; cat ..{1}/file .{1}/file; true']}}\n",
        fd, canary());
  }
  run_pod("cwd", containers);
  require_eventually("all have ended", [&] { return pod_value("cwd", "/status/phase") == "Failed"; }, 30s);
  BOOST_TEST(shell(fmt::format("grep -rl 'canary lives' {}/logs", root_dir().string())).out == "");
  BOOST_TEST(contains(pods_json(), "working directory"));

  run_ready_pod("plain", kSleeper);
  for (const char* process : {"1", "self"}) {
    const auto open = in_pod("plain", fmt::format("ls /proc/{}/fd | tr '\\n' ' '", process));
    BOOST_TEST((open == "0 1 2 " || open == "0 1 2 3 "), open);  // 3: what ls reads
  }
  const auto links = in_pod("plain", "ls -l /proc/1/fd /proc/self/fd");
  BOOST_TEST(!contains(links, directory().string()), links);
  BOOST_TEST(in_pod("plain", "readlink /proc/1/cwd; readlink /proc/self/cwd") == "/\n/\n");
}

// CVE-2021-30465, CVE-2023-27561
BOOST_FIXTURE_TEST_CASE(a_mount_target_that_is_swapped_for_a_symlink_leads_nowhere, Node) {
  const auto shared = (directory() / "shared").string();
  background(
      {"/bin/bash", "-c",
       fmt::format("cd {0}; mkdir -p real; while :; do mv -T real target; mv -T target real; ln -sfn {1} link; mv -T "
                   "link target; rm target; ln -sfn ../../../../../../../..{1} link; mv -T link target; rm target; "
                   "sleep 0.001; done 2>/dev/null",
                   shared, canary())},
      directory() / "racer.log");
  for (int i = 0; i < 12; ++i) {
    run_pod(fmt::format("racer{}", i),
            "  restartPolicy: Never\n" +
                one_container(
                    "command: [/bin/sh, -c, 'touch /shared/target/deep/made /shared/target/deep/f'], volumeMounts: "
                    "[{name: s, mountPath: /shared}, {name: e, mountPath: /shared/target/deep}]",
                    fmt::format("[{{name: s, hostPath: {{path: {}}}}}, {{name: e, emptyDir: {{}}}}]", shared)));
  }
  for (int i = 0; i < 12; ++i) {
    require_eventually(
        "it has ended",
        [&] {
          const auto phase = pod_value(fmt::format("racer{}", i), "/status/phase");
          return phase == "Failed" || phase == "Succeeded";
        },
        30s);
  }
  BOOST_TEST(shell(fmt::format("grep -c {} /proc/self/mounts", directory().string())).out == "0\n");
}

// CVE-2019-19921, CVE-2025-31133, CVE-2025-52565, CVE-2025-52881
BOOST_FIXTURE_TEST_CASE(masks_consoles_and_writes_to_proc_cannot_be_redirected, Node) {
  // An image whose /proc, /sys or /dev is a link to a place of its choosing.
  for (const std::string place : {"proc", "sys", "dev"}) {
    import_image("linked-" + place, fmt::format("mkdir -p elsewhere/null; ln -s elsewhere {}", place));
    const auto text = outcome("linked-" + place, fmt::format("  containers: [{{name: main, image: 'linked-{}:1', "
                                                             "imagePullPolicy: Never}}]\n",
                                                             place));
    BOOST_TEST(contains(text, place), text);
    BOOST_TEST(contains(text, "ymbolic link"), text);
  }
  // One that brings devices' names of its own: /dev is not the image's.
  import_image("devices", fmt::format("mkdir -p dev/pts; ln -s {0}/file dev/null; ln -s {0}/file dev/console; "
                                      "ln -s {0}/file dev/pts/ptmx",
                                      canary()));
  run_ready_pod("devices",
                "  containers: [{name: main, image: 'devices:1', imagePullPolicy: Never, tty: true, args: "
                "[serve, '7000']}]\n");
  // A volume over /dev, with the same: what is masked was masked before it came.
  shell(
      fmt::format("mkdir -p {0}/shared/pts; ln -s {1}/file {0}/shared/null; ln -s {1}/file {0}/shared/console; "
                  "ln -s {1}/file {0}/shared/pts/ptmx",
                  directory().string(), canary()));
  run_ready_pod(
      "covered",
      one_container("command: [/bin/sh, -c, 'echo bytes=$(cat /proc/kcore /proc/keys | wc -c).; exec sleep 1000'], "
                    "volumeMounts: [{name: d, mountPath: /dev}]",
                    fmt::format("[{{name: d, hostPath: {{path: {}/shared}}}}]", directory().string())));
  require_eventually("it has looked", [&] { return contains(ctl({"logs", "covered"}).out, "bytes=0."); });
  ctl({"exec", "-t", "covered", "--", "/bin/sh", "-c", "echo pwned"});
  // Nothing is mounted where the runtime itself writes.
  for (const std::string target : {"/proc", "/proc/self", "/proc/sys/kernel", "/proc/self/attr"}) {
    const auto name = fmt::format("over{}", target.size());
    const auto text =
        outcome(name, one_container(fmt::format("command: [/bin/true], volumeMounts: [{{name: e, mountPath: "
                                                "{}}}]",
                                                target),
                                    "[{name: e, emptyDir: {}}]"));
    BOOST_TEST(contains(text, "in /proc"), text);
  }
}

// CVE-2017-1002101, CVE-2021-25741
BOOST_FIXTURE_TEST_CASE(sub_paths_do_not_leave_their_volume, Node) {
  for (const std::string medium : {"", "Memory"}) {
    for (const std::string& link : {canary(), std::string("../../../../../../../../../../..") + canary()}) {
      const auto name = fmt::format("sub{}{}", medium.empty() ? "disk" : "memory", link.size());
      run_pod(name, fmt::format(R"(
  restartPolicy: Never
  initContainers: [{{name: plant, image: busybox-test, imagePullPolicy: Never, command: [/bin/ln, -s, {0}, /v/out], volumeMounts: [{{name: v, mountPath: /v}}]}}]
  containers: [{{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "cat /data/file; echo pwned > /data/file"], volumeMounts: [{{name: v, mountPath: /data, subPath: out}}]}}]
  volumes: [{{name: v, emptyDir: {{medium: "{1}"}}}}]
)",
                                link, medium));
      require_eventually("it is refused", [&] {
        const auto text = pods_json();
        return contains(text, "leads out of") || contains(text, "subPath out");
      });
      remove_manifest(name + ".yaml");
      require_eventually("it is gone", [&] { return !pod_exists(name); });
    }
  }
  BOOST_TEST(shell(fmt::format("grep -rl 'canary lives' {}/logs", root_dir().string())).out == "");
}

// CVE-2022-0492
BOOST_FIXTURE_TEST_CASE(no_release_agent_can_be_set, Node) {
  const auto agents = [this] { return shell("cat /sys/fs/cgroup/*/release_agent 2>/dev/null").out; };
  const auto before = agents();
  const std::string attack =
      "mkdir -p /tmp/cg; for c in memory rdma cpu pids; do mount -t cgroup -o $c none /tmp/cg && echo mounted $c; "
      "done; "
      "unshare -UrmC sh -c 'mount -t cgroup -o rdma none /tmp/cg && echo mounted in a namespace'; "
      "for f in $(find /sys/fs/cgroup -name release_agent -o -name notify_on_release); do (echo 1 > $f) && echo wrote "
      "$f; "
      "done; true";
  run_ready_pod("plain", kSleeper);
  BOOST_TEST(in_pod("plain", attack) == "");
  run_ready_pod("root",
                one_container("command: [/bin/sleep, '1000'], securityContext: {runAsUser: 0, capabilities: {add: "
                              "[DAC_OVERRIDE, SYS_PTRACE, NET_ADMIN]}}"));
  BOOST_TEST(in_pod("root", attack) == "");
  BOOST_TEST(agents() == before);
}

// CVE-2022-29162
BOOST_FIXTURE_TEST_CASE(no_capability_is_inheritable_or_ambient, Node) {
  run_ready_pod("plain", kSleeper);
  run_ready_pod("user", one_container("command: [/bin/sleep, '1000'], securityContext: {runAsUser: 1000, capabilities: "
                                      "{add: [NET_ADMIN]}}"));
  for (const std::string pod : {"plain", "user"}) {
    for (const std::string process : {"1", "self"}) {
      const auto status = in_pod(pod, fmt::format("cat /proc/{}/status", process));
      BOOST_TEST(contains(status, "CapInh:\t0000000000000000"), status);
      BOOST_TEST(contains(status, "CapAmb:\t0000000000000000"), status);
      if (pod == "user") BOOST_TEST(contains(status, "CapEff:\t0000000000000000"), status);
    }
  }
}

BOOST_FIXTURE_TEST_CASE(the_hosts_disk_cannot_be_opened, Node) {
  // The disk beneath the host's root, and whatever else the host calls a disk.
  const auto device = shell("lsblk -no MAJ:MIN 2>/dev/null | head -n 1 | tr -d ' ' | tr : ' '; ").out;
  const std::string numbers = device.empty() ? "254 0" : device.substr(0, device.find('\n'));
  shell(fmt::format("mknod {}/shared/disk b {}", directory().string(), numbers));
  run_ready_pod("disk",
                one_container("command: [/bin/sleep, '1000'], volumeMounts: [{name: s, mountPath: /shared}, {name: "
                              "e, mountPath: /scratch}, {name: m, mountPath: /memory}]",
                              fmt::format("[{{name: s, hostPath: {{path: {}/shared}}}}, {{name: e, emptyDir: "
                                          "{{}}}}, {{name: m, emptyDir: {{medium: Memory}}}}]",
                                          directory().string())));
  for (const std::string place : {"/tmp", "/scratch", "/memory", "/dev"}) {
    const auto text = in_pod("disk", fmt::format("mknod {0}/d b {1} 2>&1; head -c 1 {0}/d 2>&1", place, numbers));
    BOOST_TEST((contains(text, "not permitted") || contains(text, "ermission denied")), place + ": " + text);
  }
  const auto text = in_pod("disk", "head -c 1 /shared/disk 2>&1; (echo > /shared/disk) 2>&1");
  BOOST_TEST((contains(text, "not permitted") || contains(text, "ermission denied")), text);
  BOOST_TEST(in_pod("disk", "(echo h > /proc/sysrq-trigger) 2>/dev/null && echo written") == "");
}
