#include <boost/test/unit_test.hpp>
#include <cstdint>
#include <limits>

#include "api/value.h"

BOOST_AUTO_TEST_SUITE(value_tests)

using namespace keelson::api;

namespace {
int64_t value(const char* text) { return Quantity{text}.value(); }
int64_t milli(const char* text) { return Quantity{text}.milli_value(); }
}  // namespace

BOOST_AUTO_TEST_CASE(quantities_are_read_as_kubernetes_reads_them) {
  BOOST_TEST(value("0") == 0);
  BOOST_TEST(value("2") == 2);
  BOOST_TEST(value("1k") == 1000);
  BOOST_TEST(value("1Ki") == 1024);
  BOOST_TEST(value("64Mi") == 67108864);
  BOOST_TEST(value("1.5Gi") == 1610612736);
  BOOST_TEST(value("1E") == 1'000'000'000'000'000'000);
  BOOST_TEST(value("1e3") == 1000);
  BOOST_TEST(value("1E3") == 1000);
  BOOST_TEST(value("5e-1") == 1);
  BOOST_TEST(value("12e+2") == 1200);
  BOOST_TEST(milli("500m") == 500);
  BOOST_TEST(milli("0.1") == 100);
  BOOST_TEST(milli(".5") == 500);
  BOOST_TEST(milli("5.") == 5000);
  BOOST_TEST(milli("+2") == 2000);
  BOOST_TEST(milli("-1.5") == -1500);
  BOOST_TEST(milli("100u") == 1);
}

BOOST_AUTO_TEST_CASE(quantities_round_up) {
  BOOST_TEST(value("100m") == 1);
  BOOST_TEST(value("1001m") == 2);
  BOOST_TEST(milli("1n") == 1);
  BOOST_TEST(milli("1000001u") == 1001);
  BOOST_TEST(value("0.0000000000000000000000001") == 1);
}

BOOST_AUTO_TEST_CASE(quantities_saturate) {
  constexpr int64_t kMax = std::numeric_limits<int64_t>::max();
  BOOST_TEST(value("9223372036854775807") == kMax);
  BOOST_TEST(value("9223372036854775808") == kMax);
  BOOST_TEST(value("8Ei") == kMax);
  BOOST_TEST(value("1e100") == kMax);
  BOOST_TEST(value("99999999999999999999999999999999999999999999Ei") == kMax);
  BOOST_TEST(milli("1e99999999999") == kMax);
  BOOST_TEST(milli("-1e90") == -kMax);
  BOOST_TEST(value("1e-99999999999") == 1);
}

BOOST_AUTO_TEST_CASE(what_is_no_quantity_is_refused) {
  for (const char* text : {"",     " ",     "m",    ".",  "-",    "1 ", " 1",  "1KI", "1ki", "1mm", "1K",
                           "1..2", "1.2.3", "0x10", "1e", "1e3m", "e3", "--1", "1,5", "NaN", "Inf"}) {
    BOOST_TEST(!parse_quantity(text), text);
    BOOST_TEST(value(text) == 0, text);
  }
  BOOST_TEST(!parse_quantity(std::string(1000, '1')));
}

BOOST_AUTO_TEST_CASE(quantity_keeps_its_text) { BOOST_TEST(parse_quantity("1000m")->text == "1000m"); }

BOOST_AUTO_TEST_CASE(times_are_rfc_3339) {
  BOOST_TEST(parse_time("1970-01-01T00:00:00Z")->seconds == 0);
  BOOST_TEST(parse_time("2026-11-22T17:16:52Z")->seconds == 1795367812);
  BOOST_TEST(parse_time("2026-11-22T18:46:52+01:30")->seconds == 1795367812);
  BOOST_TEST(parse_time("2026-11-22T12:16:52-05:00")->seconds == 1795367812);
  BOOST_TEST(parse_time("1969-12-31T23:59:59.5Z")->seconds == -1);
  BOOST_TEST(parse_micro_time("1970-01-01T00:00:01.000002Z")->microseconds == 1'000'002);
  BOOST_TEST(to_string(Time{1795367812}) == "2026-11-22T17:16:52Z");
  BOOST_TEST(to_string(Time{951782400}) == "2000-02-29T00:00:00Z");
  BOOST_TEST(to_string(MicroTime{1'000'002}) == "1970-01-01T00:00:01.000002Z");
  BOOST_TEST(to_string(MicroTime{-1}) == "1969-12-31T23:59:59.999999Z");
}

BOOST_AUTO_TEST_CASE(what_is_no_time_is_refused) {
  for (const char* text : {"", "2026", "2026-13-01T00:00:00Z", "2026-02-30T00:00:00Z", "2026-01-01 00:00:00Z",
                           "2026-01-01T24:00:00Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00.Z",
                           "2026-01-01T00:00:00+1:00", "2026-01-01T00:00:00Zx", "26-01-01T00:00:00Z"}) {
    BOOST_TEST(!parse_time(text), text);
  }
}

BOOST_AUTO_TEST_CASE(times_out_of_range_are_clamped_not_wrapped) {
  BOOST_TEST(to_string(Time{std::numeric_limits<int64_t>::max()}) == "9999-12-31T23:59:59Z");
  BOOST_TEST(to_string(Time{std::numeric_limits<int64_t>::min()}) == "0000-01-01T00:00:00Z");
}

BOOST_AUTO_TEST_CASE(box_has_the_semantics_of_a_value) {
  Box<Quantity> one = Quantity{"1"};
  Box<Quantity> copy = one;
  copy->text = "2";
  BOOST_TEST(one->text == "1");
  BOOST_TEST(!(one == copy));
  BOOST_TEST((Box<Quantity>() == Box<Quantity>()));
}

BOOST_AUTO_TEST_SUITE_END()
