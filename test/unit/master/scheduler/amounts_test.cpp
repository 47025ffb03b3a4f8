// What a Pod needs, by Kubernetes' formula.

#include "master/scheduler/amounts.h"

#include <boost/test/unit_test.hpp>
#include <limits>

#include "test/unit/master/scheduler/model.h"

BOOST_AUTO_TEST_SUITE(amounts_tests)

using namespace keelson;
using namespace keelson::scheduler;

namespace {

api::Container asks(const std::string& cpu, bool sidecar = false) {
  api::Container container;
  container.resources.requests["cpu"] = {cpu};
  if (sidecar) container.restart_policy = "Always";
  return container;
}

}  // namespace

BOOST_AUTO_TEST_CASE(containers_run_together_and_initialisers_one_by_one) {
  api::Pod made;
  made.spec.containers = {asks("200m"), asks("300m")};
  made.spec.init_containers = {asks("400m"), asks("450m")};
  BOOST_TEST(requests_of(made).cpu == 500);
  made.spec.init_containers.push_back(asks("2"));
  BOOST_TEST(requests_of(made).cpu == 2000);
}

BOOST_AUTO_TEST_CASE(a_sidecar_counts_beside_the_containers_and_beside_later_initialisers) {
  api::Pod made;
  made.spec.containers = {asks("100m")};
  made.spec.init_containers = {asks("500m", true), asks("1")};
  BOOST_TEST(requests_of(made).cpu == 1500);
  made.spec.init_containers = {asks("1"), asks("500m", true)};
  BOOST_TEST(requests_of(made).cpu == 1000);  // the initialiser runs before the sidecar starts
}

BOOST_AUTO_TEST_CASE(what_the_pod_says_as_a_whole_stands_for_its_containers) {
  api::Pod made;
  made.spec.containers = {asks("100m")};
  made.spec.resources.requests["cpu"] = {"2"};
  made.spec.overhead["cpu"] = {"250m"};
  BOOST_TEST(requests_of(made).cpu == 2250);
}

BOOST_AUTO_TEST_CASE(sums_saturate_and_negative_requests_count_as_none) {
  api::Pod made;
  made.spec.containers = {asks("9223372036854775807"), asks("9223372036854775807"), asks("-5")};
  BOOST_TEST(requests_of(made).cpu == std::numeric_limits<int64_t>::max());
}

BOOST_AUTO_TEST_CASE(a_container_that_asks_for_nothing_is_scored_as_a_small_one) {
  api::Pod made;
  made.spec.containers = {api::Container{}, asks("1")};
  BOOST_TEST(scored_use_of(made).cpu == 1100);
  BOOST_TEST(scored_use_of(made).memory == 2 * 200 * 1024 * 1024);
}

BOOST_AUTO_TEST_SUITE_END()
