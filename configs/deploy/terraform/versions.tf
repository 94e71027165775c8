# What this folder is written for. It was read and checked as text; applying it is yours to try in an account of your own.
terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.70"
    }
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]
}

# "aws-eusc" in the European Sovereign Cloud, "aws" elsewhere: never written down, or it would be wrong in one of them.
data "aws_partition" "current" {}
