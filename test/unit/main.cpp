// The entry point that all unit test binaries share.
#define BOOST_TEST_MODULE unit
#include <boost/test/unit_test.hpp>
