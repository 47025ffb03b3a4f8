// What this kernel's verifier makes of the programs, loaded with the settings of a
// dual-stack node: settings are constants to it, and decide what it has to look at.

#include <bpf/bpf.h>

#include <boost/test/unit_test.hpp>
#include <map>
#include <set>

#include "test/bpf/yard.h"

using namespace keelson;
using namespace keelson::test;

namespace {

// The kernel gives up at 1,000,000. A program that is this far from it will load on the
// next kernel too, whose verifier may be worse at pruning.
constexpr uint32_t kBudget = 50'000;

std::set<uint32_t> program_ids() {
  std::set<uint32_t> ids;
  for (uint32_t id = 0; bpf_prog_get_next_id(id, &id) == 0;) ids.insert(id);
  return ids;
}

}  // namespace

BOOST_FIXTURE_TEST_CASE(every_program_stays_far_below_the_verifiers_limit, Yard) {
  const auto others = program_ids();
  start();
  std::map<std::string, uint32_t> verified;
  for (const auto id : program_ids()) {
    if (others.contains(id)) continue;
    const host::Fd program(bpf_prog_get_fd_by_id(id));
    bpf_prog_info info{};
    uint32_t length = sizeof(info);
    if (!program || bpf_obj_get_info_by_fd(program.get(), &info, &length) != 0) continue;
    verified[info.name] = info.verified_insns;
  }
  std::set<std::string> ours = {"from_uplink", "from_pod"};
  for (const auto& link : std::filesystem::directory_iterator(bpffs / "links")) ours.insert(link.path().filename());
  BOOST_TEST(ours.size() == 13U);
  for (const auto& name : ours) {
    BOOST_REQUIRE_MESSAGE(verified.contains(name), name << " is not loaded");
    BOOST_TEST_MESSAGE(name << ": " << verified[name] << " instructions verified");
    BOOST_TEST(verified[name] > 0U, name);
    BOOST_TEST(verified[name] <= kBudget, name << ": " << verified[name]);
  }
}
