#include "tools/keelsonctl/table.h"

#include <boost/test/unit_test.hpp>

BOOST_AUTO_TEST_SUITE(table_tests)

using keelson::ctl::age;
using keelson::ctl::size;
using keelson::ctl::Table;

BOOST_AUTO_TEST_CASE(columns_are_aligned_and_lines_end_with_their_text) {
  Table table({"NAME", "READY"});
  table.add({"web", "1/1"});
  table.add({"a-longer-name", ""});
  BOOST_TEST(table.text() ==
             "NAME            READY\n"
             "web             1/1\n"
             "a-longer-name   <none>\n");
}

BOOST_AUTO_TEST_CASE(control_characters_of_a_manifest_do_not_reach_the_terminal) {
  Table table({"NAME"});
  table.add({"a\x1b[31m\nb"});
  BOOST_TEST(table.text() == "NAME\na?[31m?b\n");
}

BOOST_AUTO_TEST_CASE(ages_are_short_as_kubectls) {
  const std::pair<int64_t, const char*> cases[] = {
      {-5, "<invalid>"}, {-1, "0s"},       {0, "0s"},          {119, "119s"},     {120, "2m"},
      {150, "2m30s"},    {599, "9m59s"},   {600, "10m"},       {10799, "179m"},   {10800, "3h"},
      {11100, "3h5m"},   {28800, "8h"},    {172799, "47h"},    {172800, "2d"},    {180000, "2d2h"},
      {691200, "8d"},    {63072000, "2y"}, {63158400, "2y1d"}, {315360000, "10y"}};
  for (const auto& [seconds, text] : cases) BOOST_TEST(age(seconds) == text);
}

BOOST_AUTO_TEST_CASE(sizes_are_decimal) {
  BOOST_TEST(size(999) == "999B");
  BOOST_TEST(size(1'500) == "1.5kB");
  BOOST_TEST(size(45'100'000) == "45.1MB");
}

BOOST_AUTO_TEST_SUITE_END()
