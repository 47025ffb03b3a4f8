#include "agent/server/token.h"

#include <sys/stat.h>

#include <boost/test/unit_test.hpp>
#include <fstream>

BOOST_AUTO_TEST_SUITE(token_tests)

using keelson::server::bears_token;
using keelson::server::load_token;
namespace fs = std::filesystem;

namespace {

struct Directory {
  Directory() {
    char name[] = "/tmp/keelson-token-XXXXXX";
    path = mkdtemp(name);
  }
  ~Directory() { fs::remove_all(path); }
  fs::path path;
};

}  // namespace

BOOST_AUTO_TEST_CASE(a_token_is_made_once_and_only_its_owner_may_read_it) {
  Directory directory;
  const auto file = directory.path / "root" / "api.token";
  const auto made = load_token(file);
  BOOST_REQUIRE_MESSAGE(made.has_value(), (made ? "" : made.error().message));
  BOOST_TEST(made->size() == 64u);
  struct stat status;
  BOOST_REQUIRE(stat(file.c_str(), &status) == 0);
  BOOST_TEST((status.st_mode & 07777) == 0600u);
  BOOST_TEST(load_token(file).value() == *made);
  BOOST_TEST(load_token(directory.path / "other").value() != *made);
}

BOOST_AUTO_TEST_CASE(a_token_that_others_may_read_or_guess_is_refused) {
  Directory directory;
  const auto file = directory.path / "api.token";
  std::ofstream(file) << std::string(64, 'a') << "\n";
  chmod(file.c_str(), 0640);
  const auto readable = load_token(file);
  BOOST_REQUIRE(!readable.has_value());
  BOOST_TEST(readable.error().message.find("chmod 600") != std::string::npos);
  chmod(file.c_str(), 0600);
  BOOST_TEST(load_token(file).value() == std::string(64, 'a'));
  std::ofstream(file) << "short\n";
  BOOST_TEST(!load_token(file).has_value());
  std::ofstream(file) << "";
  BOOST_TEST(!load_token(file).has_value());
}

BOOST_AUTO_TEST_CASE(only_the_whole_token_is_accepted) {
  BOOST_TEST(bears_token("Bearer secret", "secret"));
  BOOST_TEST(bears_token("bearer secret", "secret"));
  for (const char* text : {"", "Bearer", "Bearer ", "Bearer secre", "Bearer secrets", "Bearer Secret", "Basic secret",
                           "secret", "Bearer  secret"}) {
    BOOST_TEST(!bears_token(text, "secret"), text);
  }
  BOOST_TEST(!bears_token("Bearer ", ""));
}

BOOST_AUTO_TEST_SUITE_END()
