#include "host/service_manager.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <boost/test/unit_test.hpp>
#include <cstddef>
#include <cstring>
#include <string>

#include "host/fd.h"

using namespace keelson::host;

namespace {

// A manager's end: a datagram socket in the abstract namespace, with a name of its own.
struct Manager {
  std::string name = "keelson-test-manager-" + std::to_string(::getpid());
  Fd socket{::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  Manager() {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::memcpy(address.sun_path + 1, name.data(), name.size());
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + name.size());
    BOOST_REQUIRE_EQUAL(::bind(socket.get(), reinterpret_cast<sockaddr*>(&address), size), 0);
  }
  std::string heard() {
    char text[64];
    const ssize_t size = ::recv(socket.get(), text, sizeof text, 0);
    return size < 0 ? std::string() : std::string(text, static_cast<size_t>(size));
  }
};

}  // namespace

BOOST_AUTO_TEST_CASE(the_service_manager_hears_that_we_are_ready) {
  Manager manager;
  BOOST_TEST(notify_service_manager("@" + manager.name, "READY=1").has_value());
  BOOST_TEST(manager.heard() == "READY=1");
}

BOOST_AUTO_TEST_CASE(a_service_manager_that_is_not_there_is_an_error) {
  auto told = notify_service_manager("/nonexistent/notify", "READY=1");
  BOOST_REQUIRE(!told);
  BOOST_TEST((told.error().code == Error::Code::not_found));
  BOOST_TEST(!notify_service_manager("relative", "READY=1").has_value());
  BOOST_TEST(!notify_service_manager("", "READY=1").has_value());
  BOOST_TEST(!notify_service_manager("/" + std::string(200, 'x'), "READY=1").has_value());
}
