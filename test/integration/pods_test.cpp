// The issue's sentence "Pods": what a container sees and does, from the outside.
#include <fmt/core.h>
#include <sys/wait.h>

#include <boost/test/unit_test.hpp>
#include <string>

#include "test/integration/sandbox.h"
#include "test/patience.h"

using keelson::test::patient;
using keelson::test::Sandbox;
using namespace std::chrono_literals;

namespace {

struct Node : Sandbox {
  Node() {
    import_test_image();
    start_agent();
  }
  // What a command prints in the Pod's container.
  std::string in_pod(const std::string& pod, const std::string& script) {
    return ctl({"exec", pod, "--", "/bin/sh", "-c", script}).out;
  }
  void run_pod(const std::string& name, const std::string& spec) {
    write_manifest(name + ".yaml",
                   fmt::format("apiVersion: v1\nkind: Pod\nmetadata:\n  name: {}\nspec:\n{}", name, spec));
  }
  void run_ready_pod(const std::string& name, const std::string& spec) {
    run_pod(name, spec);
    require_eventually(name + " is Ready", [&] { return pod_is_ready(name); });
  }
};

constexpr const char* kSleeper = R"(
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "trap 'exit 0' TERM; while :; do sleep 0.1; done"]
)";

bool contains(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace

BOOST_FIXTURE_TEST_CASE(a_container_has_namespaces_of_its_own, Node) {
  run_ready_pod("own", kSleeper);
  BOOST_TEST(in_pod("own", "hostname") == "own\n");
  BOOST_TEST(in_pod("own", "ls /proc | grep -c '^[0-9]*$'") != "");
  BOOST_TEST(contains(in_pod("own", "cat /proc/1/cmdline | tr '\\0' ' '"), "trap"));
  BOOST_TEST(contains(in_pod("own", "ip -o link"), "eth0"));
  for (const char* name_space : {"mnt", "pid", "net", "ipc", "uts", "cgroup"}) {
    const auto here = shell(fmt::format("readlink /proc/self/ns/{}", name_space)).out;
    BOOST_TEST(in_pod("own", fmt::format("readlink /proc/self/ns/{}", name_space)) != here);
  }
}

BOOST_FIXTURE_TEST_CASE(containers_of_a_pod_share_network_ipc_and_hostname, Node) {
  run_ready_pod("pair", R"(
  terminationGracePeriodSeconds: 1
  containers:
  - {name: a, image: busybox-test, imagePullPolicy: Never, command: [/bin/demo-echo, serve, "7000"]}
  - {name: b, image: busybox-test, imagePullPolicy: Never, command: [/bin/sleep, "1000"]}
)");
  BOOST_TEST(contains(ctl({"exec", "pair", "-c", "b", "--", "/bin/demo-echo", "ask", "tcp", "127.0.0.1", "7000"}).out,
                      "hello"));
  for (const char* name_space : {"net", "ipc", "uts"}) {
    const auto a =
        ctl({"exec", "pair", "-c", "a", "--", "/bin/readlink", fmt::format("/proc/self/ns/{}", name_space)}).out;
    const auto b =
        ctl({"exec", "pair", "-c", "b", "--", "/bin/readlink", fmt::format("/proc/self/ns/{}", name_space)}).out;
    BOOST_TEST(a == b);
  }
}

BOOST_FIXTURE_TEST_CASE(init_containers_run_in_order_before_the_others, Node) {
  run_ready_pod("init", R"(
  terminationGracePeriodSeconds: 1
  initContainers:
  - {name: one, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "echo one >> /data/log"], volumeMounts: [{name: d, mountPath: /data}]}
  - {name: two, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "echo two >> /data/log"], volumeMounts: [{name: d, mountPath: /data}]}
  containers:
  - {name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "echo main >> /data/log; sleep 1000"], volumeMounts: [{name: d, mountPath: /data}]}
  volumes: [{name: d, emptyDir: {}}]
)");
  BOOST_TEST(in_pod("init", "cat /data/log") == "one\ntwo\nmain\n");
  BOOST_TEST(pod_value("init", "/status/initContainerStatuses/0/state/terminated/reason") == "Completed");
}

BOOST_FIXTURE_TEST_CASE(command_args_env_and_the_downward_api_arrive, Node) {
  write_manifest("config.yaml", R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {color: green, size: big}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
stringData: {token: s3cret}
)");
  run_ready_pod("env", R"(
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, 'echo "$0 $1 $2"; sleep 1000', $(GREETING), $$(NOT), $(MISSING)]
    envFrom:
    - {configMapRef: {name: settings}, prefix: CFG_}
    env:
    - {name: WHO, value: world}
    - {name: GREETING, value: hello-$(WHO)}
    - {name: COLOR, valueFrom: {configMapKeyRef: {name: settings, key: color}}}
    - {name: TOKEN, valueFrom: {secretKeyRef: {name: keys, key: token}}}
    - {name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NS, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: MEM, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    resources: {limits: {memory: 64Mi}}
)");
  const auto log = ctl({"logs", "env"}).out;
  BOOST_TEST(log == "hello-world $(NOT) $(MISSING)\n");
  const auto env = in_pod("env", "tr '\\0' '\\n' < /proc/1/environ");
  for (const char* line : {"COLOR=green\n", "TOKEN=s3cret\n", "POD=env\n", "NS=default\n", "NODE=node1\n",
                           "IP=10.244.0.", "MEM=64\n", "CFG_color=green\n", "CFG_size=big\n"}) {
    BOOST_TEST(contains(env, line), line << " in " << env);
  }
}

BOOST_FIXTURE_TEST_CASE(volumes_are_mounted, Node) {
  shell(fmt::format("mkdir -p {0}/host && echo from-host > {0}/host/file", directory().string()));
  write_manifest("config.yaml", R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: files}
data: {a.conf: "alpha\n", b.conf: "beta\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {key: c2VjcmV0}
)");
  run_ready_pod("vol", fmt::format(R"(
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sleep, "1000"]
    volumeMounts:
    - {{name: scratch, mountPath: /scratch}}
    - {{name: host, mountPath: /host, readOnly: true}}
    - {{name: files, mountPath: /files}}
    - {{name: files, mountPath: /one, subPath: b.conf}}
    - {{name: keys, mountPath: /keys}}
    - {{name: mem, mountPath: /mem}}
  volumes:
  - {{name: scratch, emptyDir: {{}}}}
  - {{name: host, hostPath: {{path: {0}/host, type: Directory}}}}
  - {{name: files, configMap: {{name: files}}}}
  - {{name: keys, secret: {{secretName: keys, defaultMode: 0400}}}}
  - {{name: mem, emptyDir: {{medium: Memory, sizeLimit: 1Mi}}}}
)",
                                   directory().string()));
  BOOST_TEST(in_pod("vol", "echo x > /scratch/f && cat /scratch/f") == "x\n");
  BOOST_TEST(in_pod("vol", "cat /host/file; touch /host/new 2>&1 | grep -o 'Read-only'") == "from-host\nRead-only\n");
  BOOST_TEST(in_pod("vol", "cat /files/a.conf /files/b.conf /one") == "alpha\nbeta\nbeta\n");
  BOOST_TEST(in_pod("vol", "cat /keys/key; stat -L -c ' %a' /keys/key") == "secret 400\n");
  BOOST_TEST(contains(in_pod("vol", "mount | grep ' /mem '"), "tmpfs"));
  // A changed ConfigMap arrives without a restart.
  const auto started = pod_value("vol", "/status/containerStatuses/0/state/running/startedAt");
  write_manifest("config.yaml", R"(
apiVersion: v1
kind: ConfigMap
metadata: {name: files}
data: {a.conf: "changed\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: keys}
data: {key: c2VjcmV0}
)");
  require_eventually("the new content is there", [&] { return in_pod("vol", "cat /files/a.conf") == "changed\n"; });
  BOOST_TEST(in_pod("vol", "ls /files") == "a.conf\n");
  BOOST_TEST(pod_value("vol", "/status/containerStatuses/0/state/running/startedAt") == started);
}

BOOST_FIXTURE_TEST_CASE(the_security_context_is_applied, Node) {
  run_ready_pod("secure", R"(
  terminationGracePeriodSeconds: 1
  securityContext: {runAsUser: 1000, runAsGroup: 2000, fsGroup: 3000, supplementalGroups: [4000]}
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sleep, "1000"]
    securityContext:
      readOnlyRootFilesystem: true
      allowPrivilegeEscalation: false
      capabilities: {drop: [ALL], add: [NET_BIND_SERVICE]}
    volumeMounts: [{name: d, mountPath: /data}]
  volumes: [{name: d, emptyDir: {}}]
)");
  const auto id = in_pod("secure", "id");
  BOOST_TEST(contains(id, "uid=1000"), id);
  BOOST_TEST(contains(id, "gid=2000"), id);
  BOOST_TEST(contains(id, "3000"), id);
  BOOST_TEST(contains(id, "4000"), id);
  const auto status = in_pod("secure", "cat /proc/1/status");
  BOOST_TEST(contains(status, "NoNewPrivs:\t1"), status);
  BOOST_TEST(contains(status, "Seccomp:\t2"), status);
  BOOST_TEST(contains(status, "CapBnd:\t0000000000000400"), status);
  BOOST_TEST(contains(status, "CapInh:\t0000000000000000"), status);
  BOOST_TEST(contains(in_pod("secure", "touch /x 2>&1"), "Read-only"));
  BOOST_TEST(in_pod("secure", "touch /data/x && stat -c %g /data/x") == "3000\n");
}

BOOST_FIXTURE_TEST_CASE(defaults_are_safe, Node) {
  run_ready_pod("plain", kSleeper);
  const auto status = in_pod("plain", "cat /proc/1/status");
  BOOST_TEST(contains(status, "Seccomp:\t2"), status);
  BOOST_TEST(contains(status, "CapEff:\t00000000a80425fb"), status);
  BOOST_TEST(in_pod("plain", "cat /proc/kcore 2>/dev/null | head -c 1 | wc -c") == "0\n");
  BOOST_TEST(in_pod("plain", "ls /proc/acpi /sys/firmware 2>/dev/null | grep -v : | grep -c .") == "0\n");
  // Only ever what stands there already: a failure must not harm the host.
  BOOST_TEST(contains(
      in_pod("plain", "v=$(cat /proc/sys/vm/overcommit_memory); (echo $v > /proc/sys/vm/overcommit_memory) 2>&1"),
      "Read-only"));
  // Devices: the usual ones, and no other.
  BOOST_TEST(in_pod("plain", "head -c 4 /dev/zero | wc -c; echo x > /dev/null && echo ok") == "4\nok\n");
  BOOST_TEST(contains(in_pod("plain", "mknod /tmp/disk b 254 0 && cat /tmp/disk 2>&1 | head -c 100"), "not permitted"));
}

BOOST_FIXTURE_TEST_CASE(privileged_is_privileged, Node) {
  run_ready_pod("root", R"(
  terminationGracePeriodSeconds: 1
  containers:
  - {name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sleep, "1000"], securityContext: {privileged: true}}
)");
  const auto status = in_pod("root", "cat /proc/1/status");
  BOOST_TEST(contains(status, "Seccomp:\t0"), status);
  BOOST_TEST(in_pod("root", "mount -t tmpfs none /tmp && echo mounted") == "mounted\n");
}

BOOST_FIXTURE_TEST_CASE(an_oom_score_that_the_host_forbids_is_said_once_and_survived, Node) {
  const auto bounding = shell("grep -oP 'CapEff:\\t\\K.*' /proc/self/status").out;
  if ((std::stoull(bounding, nullptr, 16) >> 24 & 1) != 0) {  // CAP_SYS_RESOURCE
    BOOST_TEST_MESSAGE("this host forbids nothing");
    return;
  }
  for (const char* name : {"one", "two"}) {
    run_pod(name, std::string(kSleeper) + "    resources: {limits: {cpu: 500m, memory: 64Mi}}\n");
  }
  require_eventually("both are Ready", [&] { return pod_is_ready("one") && pod_is_ready("two"); });
  const auto count = [](const std::string& text) {
    size_t found = 0;
    for (size_t at = 0; (at = text.find("oom_score_adj cannot be lowered", at)) != std::string::npos; ++at) ++found;
    return found;
  };
  BOOST_TEST(count(ctl({"status"}).out) == 1U);
  BOOST_TEST(count(shell("cat " + (directory() / "agent.log").string()).out) == 1U);
}

BOOST_FIXTURE_TEST_CASE(a_memory_limit_kills_and_is_told_as_oomkilled, Node) {
  run_pod("hog", R"(
  restartPolicy: Never
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "x=$(head -c 200000000 /dev/zero | tr '\\0' x); echo ${#x}"]
    resources: {limits: {memory: 16Mi}}
)");
  require_eventually(
      "it is killed",
      [&] { return pod_value("hog", "/status/containerStatuses/0/state/terminated/reason") == "OOMKilled"; }, 20s);
  BOOST_TEST(pod_value("hog", "/status/containerStatuses/0/state/terminated/exitCode") == "137");
  BOOST_TEST(pod_value("hog", "/status/phase") == "Failed");
}

BOOST_FIXTURE_TEST_CASE(exit_codes_and_reasons_are_as_kubernetes_writes_them, Node) {
  run_pod("ok", R"(
  restartPolicy: Never
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/true]}]
)");
  run_pod("bad", R"(
  restartPolicy: Never
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "echo reason > /dev/termination-log; exit 3"]}]
)");
  run_pod("missing", R"(
  restartPolicy: Never
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/no/such/file]}]
)");
  require_eventually("ok has succeeded", [&] { return pod_value("ok", "/status/phase") == "Succeeded"; });
  BOOST_TEST(pod_value("ok", "/status/containerStatuses/0/state/terminated/reason") == "Completed");
  BOOST_TEST(pod_value("ok", "/status/containerStatuses/0/state/terminated/exitCode") == "0");
  require_eventually("bad has failed", [&] { return pod_value("bad", "/status/phase") == "Failed"; });
  BOOST_TEST(pod_value("bad", "/status/containerStatuses/0/state/terminated/reason") == "Error");
  BOOST_TEST(pod_value("bad", "/status/containerStatuses/0/state/terminated/exitCode") == "3");
  BOOST_TEST(pod_value("bad", "/status/containerStatuses/0/state/terminated/message") == "reason\n");
  require_eventually("missing has failed", [&] { return pod_value("missing", "/status/phase") == "Failed"; });
  const auto text = pods_json();
  BOOST_TEST(contains(text, "/no/such/file"), "the reason names the file");
}

BOOST_FIXTURE_TEST_CASE(a_crashing_container_backs_off_as_kubernetes_does, Node) {
  run_pod("crash", R"(
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/false]}]
)");
  require_eventually("it backs off", [&] {
    return pod_value("crash", "/status/containerStatuses/0/state/waiting/reason") == "CrashLoopBackOff";
  });
  BOOST_TEST(contains(pod_value("crash", "/status/containerStatuses/0/state/waiting/message"),
                      "back-off 10s restarting failed container=main pod=crash_default"));
  require_eventually(
      "it is restarted", [&] { return pod_value("crash", "/status/containerStatuses/0/restartCount") >= "2"; }, 20s);
}

BOOST_FIXTURE_TEST_CASE(a_failing_liveness_probe_restarts_the_container, Node) {
  run_ready_pod("live", R"(
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "touch /tmp/ok; sleep 1000"]
    livenessProbe: {exec: {command: [/bin/cat, /tmp/ok]}, periodSeconds: 1, failureThreshold: 1}
)");
  in_pod("live", "rm /tmp/ok");
  require_eventually(
      "it is restarted", [&] { return pod_value("live", "/status/containerStatuses/0/restartCount") == "1"; }, 15s);
}

BOOST_FIXTURE_TEST_CASE(readiness_follows_http_and_tcp_probes, Node) {
  run_ready_pod("ready", R"(
  terminationGracePeriodSeconds: 1
  containers:
  - name: web
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "mkdir -p /tmp/w; echo hi > /tmp/w/health; exec httpd -f -p 8080 -h /tmp/w"]
    readinessProbe: {httpGet: {path: /health, port: 8080}, periodSeconds: 1, failureThreshold: 1}
  - name: echo
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/demo-echo, serve, "7000"]
    startupProbe: {tcpSocket: {port: 7000}, periodSeconds: 1}
)");
  ctl({"exec", "ready", "-c", "web", "--", "/bin/rm", "/tmp/w/health"});
  require_eventually("it is no longer Ready", [&] { return pod_condition("ready", "Ready") == "False"; });
  ctl({"exec", "ready", "-c", "web", "--", "/bin/touch", "/tmp/w/health"});
  require_eventually("it is Ready again", [&] { return pod_is_ready("ready"); });
  BOOST_TEST(pod_value("ready", "/status/containerStatuses/0/restartCount") == "0");
}

BOOST_FIXTURE_TEST_CASE(readiness_follows_grpc_probes, Node) {
  // etcd serves grpc.health.v1.Health on its client port.
  const auto serve = [this]() -> keelson::host::Child& {
    const std::string client = fmt::format("http://{}:5379", kNodeIp);
    return background(
        {"/usr/bin/etcd", "--data-dir", (directory() / "probed").string(), "--listen-client-urls", client,
         "--advertise-client-urls", client, "--listen-peer-urls", "http://127.0.0.1:5380", "--unsafe-no-fsync"},
        directory() / "probed.log");
  };
  auto& server = serve();
  const std::string spec = R"(
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sleep, "1000"]
    readinessProbe: {{grpc: {{port: 5379{}}}, periodSeconds: 1, failureThreshold: 1}}
)";
  run_ready_pod("asked", fmt::format(fmt::runtime(spec), ""));
  std::string unknown = fmt::format(fmt::runtime(spec), ", service: no.such.Service");
  unknown.replace(unknown.find("readiness"), 9, "liveness");
  run_pod("unknown", unknown);
  require_eventually("the unknown service is not healthy", [&] {
    return contains(agent_log(),
                    "liveness probe failed: the server gave no health status: it does not know the service");
  });
  keelson::host::send_signal(server.pidfd, SIGTERM);
  require_eventually("it is no longer Ready", [&] { return pod_condition("asked", "Ready") == "False"; });
  serve();
  require_eventually("it is Ready again", [&] { return pod_is_ready("asked"); });
  BOOST_TEST(!contains(ctl({"status"}).out, "grpc"));
}

BOOST_FIXTURE_TEST_CASE(a_memory_volume_is_the_pods_and_has_its_limit, Node) {
  run_ready_pod("mem", R"(
  terminationGracePeriodSeconds: 1
  securityContext: {fsGroup: 3000}
  containers:
  - name: a
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "echo $(cat /data/starts)x > /data/starts; while [ ! -e /data/end ]; do sleep 0.1; done; rm /data/end"]
    volumeMounts: [{name: d, mountPath: /data}]
  - name: b
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sleep, "1000"]
    volumeMounts: [{name: d, mountPath: /data}, {name: d, mountPath: /sub, subPath: made/here}]
  volumes: [{name: d, emptyDir: {medium: Memory, sizeLimit: 2Mi}}]
)");
  const auto in_b = [this](const std::string& script) {
    return ctl({"exec", "mem", "-c", "b", "--", "/bin/sh", "-c", script}).out;
  };
  BOOST_TEST(in_b("cat /data/starts; touch /sub/file; ls /data/made/here; stat -c '%a %g' /data") ==
             "x\nfile\n2777 3000\n");
  // Its limit is the kernel's to enforce.
  BOOST_TEST(contains(in_b("head -c 4000000 /dev/zero > /data/big 2>&1; wc -c < /data/big; rm /data/big"), "20"));
  BOOST_TEST(in_b("df -m /data | awk 'NR==2 {print $2}'") == "2\n");
  in_b("touch /data/end");
  require_eventually("a is restarted and finds what it wrote", [&] { return in_b("cat /data/starts") == "xx\n"; });
  // The agent's own restart changes nothing.
  stop_agent(SIGKILL);
  start_agent();
  require_eventually("it is Ready again", [&] { return pod_is_ready("mem"); });
  in_b("touch /data/end");
  require_eventually("a is restarted again", [&] { return in_b("cat /data/starts") == "xxx\n"; }, 30s);
  BOOST_TEST(shell("grep -c " + directory().string() + " /proc/self/mounts").out == "0\n", "the host sees no mount");
}

BOOST_FIXTURE_TEST_CASE(an_empty_dir_beyond_its_limit_evicts_the_pod, Node) {
  run_ready_pod("full", R"(
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "while :; do sleep 0.1; done"]
    volumeMounts: [{name: cache, mountPath: /cache}]
  volumes: [{name: cache, emptyDir: {sizeLimit: 1Mi}}]
)");
  in_pod("full", "head -c 2000000 /dev/zero > /cache/file");
  require_eventually("it is evicted", [&] { return pod_value("full", "/status/reason") == "Evicted"; }, 25s);
  require_eventually("it has failed", [&] { return pod_value("full", "/status/phase") == "Failed"; });
  BOOST_TEST(pod_value("full", "/status/message") == "Usage of EmptyDir volume \"cache\" exceeds the limit \"1Mi\". ");
}

BOOST_FIXTURE_TEST_CASE(a_stop_runs_prestop_then_term_then_kill, Node) {
  shell("mkdir -p " + (directory() / "out").string() + " && chmod 777 " + (directory() / "out").string());
  run_ready_pod("stop", fmt::format(R"(
  terminationGracePeriodSeconds: 3
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "trap 'echo term >> /out/log; exit 0' TERM; while :; do sleep 0.1; done"]
    lifecycle: {{preStop: {{exec: {{command: [/bin/sh, -c, "echo prestop >> /out/log"]}}}}}}
    volumeMounts: [{{name: out, mountPath: /out}}]
  - name: stubborn
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sh, -c, "trap '' TERM; while :; do sleep 0.1; done"]
  volumes: [{{name: out, hostPath: {{path: {}/out}}}}]
)",
                                    directory().string()));
  remove_manifest("stop.yaml");
  require_eventually("it is gone", [&] { return !pod_exists("stop"); }, 15s);
  BOOST_TEST(shell("cat " + (directory() / "out/log").string()).out == "prestop\nterm\n");
}

BOOST_FIXTURE_TEST_CASE(an_update_stops_the_old_then_starts_the_new_at_once, Node) {
  run_ready_pod("up", kSleeper);
  const auto uid = pod_value("up", "/metadata/uid");
  std::string changed = kSleeper;
  changed.replace(changed.find("sleep 0.1"), 9, "sleep 0.2");
  const auto began = std::chrono::steady_clock::now();
  run_pod("up", changed);
  require_eventually("the new one is Ready",
                     [&] { return pod_is_ready("up") && pod_value("up", "/metadata/uid") != uid; });
  BOOST_TEST((std::chrono::steady_clock::now() - began < patient(5s)));
}

BOOST_FIXTURE_TEST_CASE(logs_are_cri_files_and_readable_with_keelsonctl, Node) {
  run_ready_pod("talk", R"(
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sh, -c, "echo out; echo err >&2; printf partial; sleep 1000"]}]
)");
  require_eventually("the lines are there", [&] { return contains(ctl({"logs", "talk"}).out, "err"); });
  const auto file = shell("cat " + (root_dir() / "logs").string() + "/default_talk_*/main/0.log").out;
  BOOST_TEST(contains(file, " stdout F out\n"), file);
  BOOST_TEST(contains(file, " stderr F err\n"), file);
  BOOST_TEST(contains(ctl({"logs", "talk", "--tail", "1"}).out, "err"));
}

BOOST_FIXTURE_TEST_CASE(exec_passes_output_and_exit_code, Node) {
  run_ready_pod("ex", kSleeper);
  auto output = ctl({"exec", "ex", "--", "/bin/sh", "-c", "echo out; echo err >&2; exit 7"});
  BOOST_TEST(output.out == "out\n");
  BOOST_TEST(contains(output.err, "err"));
  BOOST_TEST(WEXITSTATUS(output.wait_status) == 7);
}

BOOST_FIXTURE_TEST_CASE(a_missing_image_waits_and_starts_when_it_is_imported, Sandbox) {
  start_agent();
  write_manifest("late.yaml", std::string("apiVersion: v1\nkind: Pod\nmetadata: {name: late}\nspec:\n") + kSleeper);
  require_eventually("it waits for the image", [&] {
    return pod_value("late", "/status/containerStatuses/0/state/waiting/reason") == "ErrImageNeverPull";
  });
  import_test_image();
  require_eventually("it is Ready", [&] { return pod_is_ready("late"); }, 3s);
}

BOOST_FIXTURE_TEST_CASE(host_network_pods_share_the_nodes_namespace, Node) {
  run_ready_pod("hostnet", R"(
  hostNetwork: true
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/demo-echo, serve, "7777"]}]
)");
  BOOST_TEST(contains(on_node({(binaries() / "demo-echo").string(), "ask", "tcp", "127.0.0.1", "7777"}).out, "hello"));
  BOOST_TEST(pod_value("hostnet", "/status/podIP") == kNodeIp);
}

BOOST_FIXTURE_TEST_CASE(a_host_port_leads_to_the_pod, Node) {
  run_ready_pod("hp", R"(
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/demo-echo, serve, "7000"]
    ports: [{containerPort: 7000, hostPort: 17000}, {containerPort: 7000, hostPort: 17000, protocol: UDP}]
)");
  for (const char* protocol : {"tcp", "udp"}) {
    BOOST_TEST(
        contains(on_node({(binaries() / "demo-echo").string(), "ask", protocol, kNodeIp, "17000"}).out, "hp: hello"));
    BOOST_TEST(
        contains(outside({(binaries() / "demo-echo").string(), "ask", protocol, kNodeIp, "17000"}).out, "hp: hello"),
        protocol << " from outside");
  }
}

BOOST_FIXTURE_TEST_CASE(fields_that_are_not_acted_on_are_reported_by_name, Node) {
  run_pod("fields", R"(
  terminationGracePeriodSeconds: 1
  nodeSelector: {disk: ssd}
  containers:
  - name: main
    image: busybox-test
    imagePullPolicy: Never
    command: [/bin/sleep, "1000"]
    imagee: typo
    env: [{name: FROM_FILE, valueFrom: {fileKeyRef: {volumeName: d, path: p, key: k}}}]
  volumes:
  - {name: d, emptyDir: {}}
  - {name: t, projected: {sources: [{serviceAccountToken: {path: token}}]}}
)");
  require_eventually("all are reported", [&] {
    const auto status = ctl({"status"}).out;
    return contains(status, "spec.nodeSelector") && contains(status, "spec.containers[0].imagee") &&
           contains(status,
                    "spec.containers[0].env[0].valueFrom.fileKeyRef: is not read yet: the container will not start");
  });
  // And that is what happens.
  require_eventually("the container waits, the volume does not hold it up", [&] {
    return pod_value("fields", "/status/containerStatuses/0/state/waiting/message") ==
           "env FROM_FILE: this source of a value is not supported";
  });
  // As in Kubernetes, ephemeral containers are none that a manifest can bring.
  run_pod("ephemeral", R"(
  containers: [{name: main, image: busybox-test, imagePullPolicy: Never, command: [/bin/sleep, "1000"]}]
  ephemeralContainers: [{name: debug, image: busybox-test, command: [/bin/sleep, "1000"]}]
)");
  require_eventually("it is refused by name", [&] {
    return contains(ctl({"status"}).out, "spec.ephemeralContainers: Forbidden: cannot be set on create");
  });
  BOOST_TEST(!pod_exists("ephemeral"));
}
