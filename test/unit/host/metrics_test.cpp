#include "host/metrics.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(metrics_tests)

using keelson::host::Metrics;

BOOST_AUTO_TEST_CASE(metrics_render_as_prometheus_text) {
  Metrics metrics;
  metrics.counter("keelson_starts_total", "Starts.", {{"result", "ok"}}).add(3);
  metrics.gauge("keelson_pods", "Pods.\nAll.").set(2.5);
  auto& histogram = metrics.histogram("keelson_seconds", "Time.", {{"step", "a\"b\\"}}, {0.1, 1});
  histogram.observe(0.1);
  histogram.observe(0.5);
  histogram.observe(7);
  BOOST_TEST(metrics.render() ==
             "# HELP keelson_pods Pods.\\nAll.\n"
             "# TYPE keelson_pods gauge\n"
             "keelson_pods 2.5\n"
             "# HELP keelson_seconds Time.\n"
             "# TYPE keelson_seconds histogram\n"
             "keelson_seconds_bucket{step=\"a\\\"b\\\\\",le=\"0.1\"} 1\n"
             "keelson_seconds_bucket{step=\"a\\\"b\\\\\",le=\"1\"} 2\n"
             "keelson_seconds_bucket{step=\"a\\\"b\\\\\",le=\"+Inf\"} 3\n"
             "keelson_seconds_sum{step=\"a\\\"b\\\\\"} 7.6\n"
             "keelson_seconds_count{step=\"a\\\"b\\\\\"} 3\n"
             "# HELP keelson_starts_total Starts.\n"
             "# TYPE keelson_starts_total counter\n"
             "keelson_starts_total{result=\"ok\"} 3\n");
}

BOOST_AUTO_TEST_CASE(the_same_labels_are_the_same_series) {
  Metrics metrics;
  metrics.counter("c", "C.", {{"a", "1"}}).add();
  metrics.counter("c", "C.", {{"a", "1"}}).add();
  BOOST_TEST(metrics.counter("c", "C.", {{"a", "1"}}).value() == 2u);
  BOOST_TEST(metrics.counter("c", "C.", {{"a", "2"}}).value() == 0u);
}

BOOST_AUTO_TEST_CASE(a_refresh_runs_before_each_rendering_and_may_replace_a_family) {
  Metrics metrics;
  int round = 0;
  metrics.on_render([&] {
    metrics.forget("pods");
    metrics.gauge("pods", "Pods.", {{"phase", round++ == 0 ? "Pending" : "Running"}}).set(1);
  });
  BOOST_TEST(metrics.render().find("phase=\"Pending\"") != std::string::npos);
  const auto second = metrics.render();
  BOOST_TEST(second.find("phase=\"Running\"") != std::string::npos);
  BOOST_TEST(second.find("Pending") == std::string::npos);
}

BOOST_AUTO_TEST_CASE(a_family_cannot_grow_without_bound) {
  Metrics metrics;
  for (int i = 0; i < 10'050; ++i) metrics.counter("c", "C.", {{"i", std::to_string(i)}}).add();
  const auto text = metrics.render();
  BOOST_TEST(std::count(text.begin(), text.end(), '\n') == 10'002);
}

BOOST_AUTO_TEST_SUITE_END()
