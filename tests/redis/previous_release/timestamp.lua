-- Put in front of the script that stamps messages.

-- UTC as ISO 8601 with six decimals. Days to a date by Howard Hinnant's civil_from_days.
local function timestamp(us)
  local floor = math.floor
  local seconds = floor(us / 1000000)
  local days = floor(seconds / 86400) + 719468
  local era = floor(days / 146097)
  local day_of_era = days - era * 146097
  local year_of_era = floor((day_of_era - floor(day_of_era / 1460) + floor(day_of_era / 36524) - floor(day_of_era / 146096)) / 365)
  local day_of_year = day_of_era - (365 * year_of_era + floor(year_of_era / 4) - floor(year_of_era / 100))
  local shifted_month = floor((5 * day_of_year + 2) / 153)
  local day = day_of_year - floor((153 * shifted_month + 2) / 5) + 1
  local month = shifted_month < 10 and shifted_month + 3 or shifted_month - 9
  local year = year_of_era + era * 400 + (month <= 2 and 1 or 0)
  return string.format(
    '%04d-%02d-%02dT%02d:%02d:%02d.%06dZ',
    year, month, day, floor(seconds / 3600) % 24, floor(seconds / 60) % 60, seconds % 60, us % 1000000
  )
end
