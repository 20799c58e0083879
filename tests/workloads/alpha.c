// A plugin. Another that is built like it takes the same addresses.
#include "plugin.h"

PLUGIN(alpha)
