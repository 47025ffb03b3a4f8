#include "host/process.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <optional>
#include <thread>

BOOST_AUTO_TEST_SUITE(process_tests)

using namespace keelson::host;

BOOST_AUTO_TEST_CASE(run_returns_output_and_exit_code) {
  auto output = run({.argv = {"/bin/sh", "-c", "cat; echo err >&2; exit 3"}}, "hello", 5000);
  BOOST_REQUIRE(output);
  BOOST_TEST(output->out == "hello");
  BOOST_TEST(output->err == "err\n");
  BOOST_TEST(WEXITSTATUS(output->wait_status) == 3);
}

BOOST_AUTO_TEST_CASE(run_kills_what_takes_too_long) {
  auto output = run({.argv = {"/bin/sleep", "30"}}, "", 50);
  BOOST_REQUIRE(!output);
  BOOST_TEST(output.error().message.find("not done after 50 ms") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(run_refuses_endless_output) {
  auto output = run({.argv = {"/bin/cat", "/dev/zero"}}, "", 5000);
  BOOST_REQUIRE(!output);
  BOOST_TEST(output.error().message.find("1 MiB") != std::string::npos);
}

BOOST_AUTO_TEST_CASE(an_exec_that_fails_is_reported) {
  auto child = spawn({.argv = {"/nonexistent"}});
  BOOST_REQUIRE(!child);
  BOOST_TEST((child.error().code == Error::Code::not_found));
}

// The pipe that tells of the failure may have one of the numbers that the child asks for.
BOOST_AUTO_TEST_CASE(an_exec_that_fails_is_reported_whatever_numbers_its_descriptors_have) {
  int ends[2];
  BOOST_REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
  const Fd out(ends[0]), in(ends[1]);
  SpawnOptions options{.argv = {"/nonexistent"}};
  for (int number = 3; number < 30; ++number) options.fds.emplace_back(in.get(), number);
  auto child = spawn(options);
  BOOST_REQUIRE(!child);
  BOOST_TEST((child.error().code == Error::Code::not_found), child.error().message);
  char written = 0;
  BOOST_TEST(::read(out.get(), &written, 1) == -1);
}

BOOST_AUTO_TEST_CASE(the_environment_is_what_was_given_and_nothing_else) {
  auto output = run({.argv = {"/usr/bin/env"}, .environment = {"A=1"}}, "", 5000);
  BOOST_REQUIRE(output);
  BOOST_TEST(output->out == "A=1\n");
}

BOOST_AUTO_TEST_CASE(a_child_begins_where_it_is_told_to) {
  auto output = run({.argv = {"/bin/pwd"}, .working_directory = "/usr"}, "", 5000);
  BOOST_REQUIRE(output);
  BOOST_TEST(output->out == "/usr\n");
  BOOST_TEST(
      (spawn({.argv = {"/bin/pwd"}, .working_directory = "/nonexistent"}).error().code == Error::Code::not_found));
}

BOOST_AUTO_TEST_CASE(a_child_dies_with_the_thread_that_started_it_when_that_was_asked_for) {
  std::optional<Child> child;
  std::thread([&child] {
    auto spawned = spawn({.argv = {"/bin/sleep", "30"}, .parent_death_signal = SIGKILL});
    if (spawned) child = std::move(*spawned);
  }).join();
  BOOST_REQUIRE(child);
  pollfd ended{.fd = child->pidfd.get(), .events = POLLIN, .revents = 0};
  BOOST_TEST(::poll(&ended, 1, 5000) == 1);
  auto status = reap(child->pidfd);
  BOOST_REQUIRE(status);
  BOOST_TEST((WIFSIGNALED(*status) && WTERMSIG(*status) == SIGKILL));
}

// As systemd's RestrictNamespaces= does.
BOOST_AUTO_TEST_CASE(a_service_from_which_clone3_is_hidden_spawns_all_the_same) {
  const pid_t service = ::fork();
  if (service == 0) {
    sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    const sock_fprog filter{.len = 4, .filter = code};
    if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) ::_exit(2);
    if (::prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) != 0) ::_exit(3);
    const auto output = run({.argv = {"/bin/echo", "hello"}}, "", 5000);
    ::_exit(output && output->out == "hello\n" && WEXITSTATUS(output->wait_status) == 0 ? 0 : 1);
  }
  int status = 0;
  BOOST_REQUIRE(::waitpid(service, &status, 0) == service);
  BOOST_TEST(WEXITSTATUS(status) == 0);
}

BOOST_AUTO_TEST_CASE(descriptors_arrive_under_their_numbers_and_no_others_do) {
  const int leak = ::dup(0);  // no O_CLOEXEC: must not reach the child all the same
  auto output = run({.argv = {"/bin/ls", "/proc/self/fd"}}, "", 5000);
  ::close(leak);
  BOOST_REQUIRE(output);
  BOOST_TEST(output->out == "0\n1\n2\n3\n");  // 3 is ls's own
}

BOOST_AUTO_TEST_CASE(an_identity_is_not_taken_over_by_another_process) {
  auto self = identify(::getpid());
  BOOST_REQUIRE(self);
  BOOST_TEST(open_process(*self).has_value());
  ++self->start_time;
  BOOST_TEST((open_process(*self).error().code == Error::Code::not_found));
}

BOOST_AUTO_TEST_CASE(a_signalled_child_reports_its_signal) {
  auto child = spawn({.argv = {"/bin/sleep", "30"}});
  BOOST_REQUIRE(child);
  BOOST_TEST((reap(child->pidfd).error().code == Error::Code::unavailable));
  BOOST_REQUIRE(send_signal(child->pidfd, SIGTERM));
  Result<int> status = fail("");
  do {
    status = reap(child->pidfd);
  } while (!status && status.error().code == Error::Code::unavailable);
  BOOST_REQUIRE(status);
  BOOST_TEST((WIFSIGNALED(*status) && WTERMSIG(*status) == SIGTERM));
}

BOOST_AUTO_TEST_SUITE_END()
