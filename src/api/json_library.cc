// The one place that compiles Boost.JSON: it is used as headers, so nothing has to be linked.
#include <boost/json/src.hpp>
